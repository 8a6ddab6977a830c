package main

import (
	"os"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/pool"
)

// granted lets a host have volume web for domain shop.
func granted(t *testing.T, ta *testApp, name string, host pool.Host, boot string) pool.Backend {
	t.Helper()
	c, err := config.Load(os.Getenv("VOLBRIDGE_CONFIG"), ta.drivers)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.OpenPools(bridge.ErrNoPool, nil).Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Grant(t.Context(), pool.GrantRequest{Volume: "web", Host: host, BootID: boot, Mode: pool.Exclusive,
		Owner: pool.Owner{UUID: "5b7e8b0a-3f2d-4a0e-9d6c-0123456789ab", Name: "shop"}}); err != nil {
		t.Fatal(err)
	}
	return b
}

// That a host runs no guest now is not enough: while the array is silent to it, it
// may start from its own record what it ran last.
func TestRevokeAsks(t *testing.T) {
	ta := newTestApp(t, "fast")
	ta.must(t, "volume", "create", "fast/web", "--size", "1MiB")
	b := granted(t, ta, "fast", pool.Host{Name: "kvm02", ID: "id2"}, "boot")
	for _, c := range []struct {
		answer  string
		revoked bool
	}{{"no\n", false}, {"y\n", false}, {"", false}, {"yes\n", true}} {
		ta.inTerminal, ta.in = true, strings.NewReader(c.answer)
		_, err := ta.try(t, "volume", "revoke", "fast/web", "--host", "kvm02")
		for _, want := range []string{"run no guest", "start none", "off, or cut from the storage"} {
			if asked := ta.stderr.String(); !strings.Contains(asked, want) {
				t.Errorf("%q: asked %q, which does not say %q", c.answer, asked, want)
			}
		}
		holders, looked := b.Holders(t.Context(), "web")
		if looked != nil || (err == nil) != c.revoked || (len(holders) == 0) != c.revoked {
			t.Errorf("%q: %v, holders %v, %v", c.answer, err, holders, looked)
		}
	}
}
