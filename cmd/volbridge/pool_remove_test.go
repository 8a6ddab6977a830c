package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// The records of this host were damaged and moved away, as the doctor says, and
// the array still has a grant to be returned: the pool is what recovery needs.
func TestPoolRemoveAsksTheArray(t *testing.T) {
	a, settings := startArray(t)
	ta := arrayApp(t, a.URL, settings+"create_host = true\n")
	ta.must(t, "volume", "create", "flash/web", "--size", "1MiB")
	boot, err := state.BootID("/proc")
	if err != nil {
		t.Fatal(err)
	}
	self := pool.Host{Name: "kvm01", ID: "id1", NQN: "nqn.2014-08.org.nvmexpress:uuid:5b7e8b0a-3f2d-4a0e-9d6c-0123456789ab"}
	b := granted(t, ta, "flash", self, boot)
	if err := os.RemoveAll(filepath.Join(filepath.Dir(os.Getenv("VOLBRIDGE_CONFIG")), "state")); err != nil {
		t.Fatal(err)
	}

	var coded *codedError
	_, err = ta.try(t, "pool", "remove", "flash")
	if !errors.As(err, &coded) || coded.code != exitRefused || !strings.Contains(fmt.Sprint(err), "volume flash/web for domain shop") {
		t.Errorf("%v, want it refused", err)
	}
	if err := b.Revoke(t.Context(), pool.RevokeRequest{Volume: "web", Host: self, BootIDs: []string{boot}}); err != nil {
		t.Fatal(err)
	}
	ta.must(t, "pool", "remove", "flash")
	if warned := ta.stderr.String(); strings.Contains(warned, "warning") {
		t.Errorf("warned of an array that answers: %s", warned)
	}
}
