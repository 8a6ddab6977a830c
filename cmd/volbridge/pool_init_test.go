package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/pool"
)

// TestInitNotNeeded: an array knows by itself what its pools are.
func TestInitNotNeeded(t *testing.T) {
	ta := newTestApp(t, "fast")
	ta.drivers = []pool.Driver{{
		Type: "array", Settings: func() any { return &struct{}{} }, Check: func(any) map[string]string { return nil },
		Open: func(string, any, *logrus.Entry) (pool.Backend, error) { return struct{ pool.Backend }{}, nil },
	}}
	file := filepath.Join(t.TempDir(), "volbridge.toml")
	if err := os.WriteFile(file, []byte("[pool.big]\ntype = \"array\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ta.try(t, "--config", file, "pool", "init", "big")
	if exitCode(t.Context(), err) != exitRefused || !strings.Contains(err.Error(), "pool big needs no init") {
		t.Errorf("%v", err)
	}
}
