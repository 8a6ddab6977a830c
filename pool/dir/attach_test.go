package dir

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/pool"
)

// What Grant returns is enough to attach the volume, and a resized volume
// grows where it is attached.
func TestGrantedVolumeCanBeAttached(t *testing.T) {
	testenv.NeedRoot(t)
	b := newPool(t)
	b.name = "test-" + strings.ToLower(rand.Text())
	v := b.mustCreate(t, "a+b_c.d-e=f@g:h")
	c, err := b.Grant(t.Context(), pool.GrantRequest{Volume: v.Name, Host: kvm01, BootID: "boot-1", Owner: dom1, Mode: pool.Exclusive})
	must(t, err)
	host := blockdev.System()
	t.Cleanup(func() {
		os.RemoveAll(filepath.Dir(c.Path))
		os.Remove(filepath.Dir(filepath.Dir(c.Path))) // fails where others use it
	})
	d, err := blockdev.Attach(t.Context(), host, c)
	must(t, err)
	if d.Path != c.Path || d.SizeBytes != v.SizeBytes || d.Identity != v.Identity {
		t.Errorf("device %+v of volume %+v", d, v)
	}
	if found, err := b.LookupPath(t.Context(), d.Path); err != nil || found != v {
		t.Errorf("%s is %+v, %v", d.Path, found, err)
	}
	bigger, err := b.Resize(t.Context(), v.Name, 3*mib)
	must(t, err)
	c, err = b.Connection(t.Context(), v.Name, kvm01)
	must(t, err)
	if d, err = blockdev.Grow(t.Context(), host, c); err != nil || d.SizeBytes != bigger.SizeBytes {
		t.Errorf("grown: %+v, %v", d, err)
	}
	must(t, blockdev.Detach(t.Context(), host, c), b.Revoke(t.Context(), pool.RevokeRequest{Volume: v.Name, Host: kvm01}), b.Delete(t.Context(), v.Name, ""))
}
