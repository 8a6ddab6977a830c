package flasharray

import (
	"errors"
	"net/http"
	"path/filepath"
	"testing"

	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
)

// A refusal whose claim cannot be taken back is no silence of the array: a host
// whose own record says that it holds the volume would start beside the holder.
func TestRefusalIsNoSilence(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	create(t, b, "vm1")
	grant(t, b, "vm1", kvm02, pool.Exclusive)
	r.FailFrom(1, lab.Fault{Kind: lab.LostBefore, Method: http.MethodDelete, Path: "/volumes/tags"})
	_, err := r.open(t).Grant(t.Context(), request("vm1", kvm01, dom1, pool.Exclusive))
	wantError(t, "grant", err, "held by host kvm02", "could not be taken back", "DELETE /volumes/tags")
	var held *pool.HeldError
	if errors.Is(err, pool.ErrUnreachable) || errors.As(err, &held) {
		t.Errorf("as silence %v, as unchanged %v", errors.Is(err, pool.ErrUnreachable), errors.As(err, &held))
	}
}

func TestUnreadableClaimIsNoSilence(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	create(t, b, "vm1")
	v, _ := r.Volume("vm1")
	must(t, b.array.putTags(t.Context(), v.ID, newTag(claims.NewKey(kvm02.ID, b.now()), "cut")))
	r.FailFrom(1, lab.Fault{Kind: lab.LostBefore, Method: http.MethodDelete, Path: "/volumes/tags"})
	_, err := r.open(t).Grant(t.Context(), request("vm1", kvm01, dom1, pool.Exclusive))
	wantError(t, "grant", err, "a host of unknown name", "could not be taken back")
	if errors.Is(err, pool.ErrUnreachable) {
		t.Error("it is said to be silence")
	}
}

// Who repeats a revoke after a crash must still be told that the device stays:
// otherwise he waits for its end, for ever.
func TestRevokeAgainKnowsThatTheDeviceStays(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	create(t, b, "vm1")
	r.connect(t, "vm1", "kvm01")
	grant(t, r.open(t), "vm1", kvm01, pool.Exclusive)
	revoke(t, r.open(t), "vm1", kvm01)
	c, err := r.open(t).Connection(t.Context(), "vm1", kvm01)
	if err != nil || !c.Lasting {
		t.Errorf("lasting %v, %v", c.Lasting, err)
	}
}

// A pool that cannot ask its array still knows its paths: otherwise a guest on
// one of them would be taken for none of volbridge's, and start.
func TestPathsOfAPoolWithoutItsCertificates(t *testing.T) {
	r := newRig(t, lab.Options{})
	create(t, r.open(t), "vm1")
	path := NVMeTCP.Path(serialOf(t, r, "vm1"))
	r.settings.CAFile, r.settings.SessionDir = filepath.Join(t.TempDir(), "none.pem"), t.TempDir()
	b := r.open(t)
	_, err := b.LookupPath(t.Context(), path)
	wantError(t, "look up", err, path, "pool flash", "ca_file", "none.pem")
	if !errors.Is(err, pool.ErrUnreachable) || errors.Is(err, pool.ErrNotFound) {
		t.Error(err)
	}
	if _, err := b.LookupPath(t.Context(), "/dev/disk/by-id/nvme-eui.0025385b71b00f2a"); !errors.Is(err, pool.ErrNotFound) {
		t.Errorf("a local disk: %v", err)
	}
}

// TestSilenceAfterTheClaimIsGone: an error that says that the grant stands comes only
// while it does. Whoever keeps it for a proof would start beside the next holder.
func TestSilenceAfterTheClaimIsGone(t *testing.T) {
	for _, group := range []string{"", "group1"} {
		for n := 1; ; n++ {
			r := newRig(t, lab.Options{})
			r.settings.HostGroup = group
			create(t, r.open(t), "vm1")
			grant(t, r.open(t), "vm1", kvm01, pool.Exclusive)
			b := r.open(t)
			_, err := b.Lookup(t.Context(), "vm1")
			must(t, err)
			r.FailFrom(n, lab.Fault{Kind: lab.LostBefore})
			err = b.Revoke(t.Context(), pool.RevokeRequest{Volume: "vm1", Host: kvm01})
			r.ClearFaults()
			if err == nil {
				if n < 3 {
					t.Errorf("group %q: %d calls", group, n-1)
				}
				break
			}
			holders, lost := r.open(t).Holders(t.Context(), "vm1")
			must(t, lost)
			if stands := errors.Is(err, pool.ErrUnreachable) && !errors.Is(err, pool.ErrMaybeDone); stands && len(holders) == 0 {
				t.Errorf("group %q, from call %d on: %v, but nobody holds it", group, n, err)
			}
		}
	}
}
