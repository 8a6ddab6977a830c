package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// The records of this host were damaged and moved away, as the doctor says, and
// the array still has a grant to be returned: the pool is what recovery needs.
func TestPoolRemoveAsksTheArray(t *testing.T) {
	a, settings := startArray(t)
	ta := arrayApp(t, a.URL, settings+"create_host = true\n")
	ta.must(t, "volume", "create", "flash/web", "--size", "1MiB")
	c, err := config.Load(os.Getenv("VOLBRIDGE_CONFIG"), ta.drivers)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.OpenPools(bridge.ErrNoPool, nil).Open("flash")
	if err != nil {
		t.Fatal(err)
	}
	boot, err := state.BootID("/proc")
	if err != nil {
		t.Fatal(err)
	}
	self := pool.Host{Name: "kvm01", ID: "id1", NQN: "nqn.2014-08.org.nvmexpress:uuid:5b7e8b0a-3f2d-4a0e-9d6c-0123456789ab"}
	if _, err := b.Grant(t.Context(), pool.GrantRequest{Volume: "web", Host: self, BootID: boot, Mode: pool.Exclusive,
		Owner: pool.Owner{UUID: "5b7e8b0a-3f2d-4a0e-9d6c-0123456789ab", Name: "shop"}}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(c.StateDir), os.MkdirAll(c.StateDir, 0o700)); err != nil {
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
