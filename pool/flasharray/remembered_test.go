package flasharray

import (
	"strings"
	"testing"

	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool"
)

// What a process remembers of a volume may be untrue.
func TestRememberedVolumeChanged(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, b *backend, v volume)
		want   string
	}{
		{"renamed", func(t *testing.T, b *backend, v volume) {
			_, err := b.array.rename(t.Context(), v.ID, "other")
			must(t, err)
		}, "no such volume"},
		{"deleted", func(t *testing.T, b *backend, _ volume) { must(t, b.Delete(t.Context(), "vm1", "mine")) }, "no such volume"},
		{"renamed, and another has its name", func(t *testing.T, b *backend, v volume) {
			_, err := b.array.rename(t.Context(), v.ID, "other")
			must(t, err)
			create(t, b, "vm1")
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, lab.Options{})
			b := r.open(t)
			create(t, b, "vm1")
			old, ok := r.Volume("vm1")
			if !ok {
				t.Fatal("no volume")
			}
			v := asVolume(old)
			path := NVMeTCP.Path(v.Serial)
			_, err := b.LookupPath(t.Context(), path)
			must(t, err)
			c.change(t, r.open(t), v)
			b.remember(v) // as another process of this host, which was told earlier, has left it
			b = r.open(t)
			found, err := b.LookupPath(t.Context(), path)
			if err != nil || found.Name != "vm1" {
				t.Fatalf("looked up %+v, %v; this test is about what is remembered", found, err)
			}
			got, err := b.Grant(t.Context(), request("vm1", kvm01, dom1, pool.Exclusive))
			switch {
			case c.want != "":
				wantError(t, "grant", err, c.want, "flash/vm1")
				wantConnections(t, r)
			case err != nil || got.Path == path:
				// The bridge compares paths, and refuses this.
				t.Errorf("granted %+v, %v", got, err)
			}
			for _, v := range r.Volumes() {
				if left := claimsOf(t, b, v.ID); len(left) > 0 && (c.want != "" || v.Name != "vm1") {
					t.Errorf("volume %s kept claims %+v", v.Name, left)
				}
			}
		})
	}
}

func TestRememberedSizeIsToldOnce(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	create(t, b, "vm1")
	path := NVMeTCP.Path(serialOf(t, r, "vm1"))
	other := *r.settings
	other.SessionDir = ""
	elsewhere, err := open("flash", &other, testLog())
	must(t, err)
	t.Cleanup(elsewhere.array.Close)
	_, err = elsewhere.Resize(t.Context(), "vm1", 4*mib)
	must(t, err)
	b = r.open(t)
	_, err = b.LookupPath(t.Context(), path)
	must(t, err)
	for i, want := range []int64{mib, 4 * mib, 4 * mib} {
		if c, err := b.Connection(t.Context(), "vm1", kvm01); err != nil || c.SizeBytes != want {
			t.Errorf("connection %d: %d bytes, %v; want %d", i, c.SizeBytes, err, want)
		}
	}
	stale, _ := r.Volume("vm1")
	old := asVolume(stale)
	old.SizeBytes = mib
	b.remember(old)
	b = r.open(t)
	_, err = b.LookupPath(t.Context(), path)
	must(t, err)
	for i, want := range []int64{mib, 4 * mib} {
		if c := grant(t, b, "vm1", kvm01, pool.Exclusive); c.SizeBytes != want {
			t.Errorf("grant %d: %d bytes, want %d", i, c.SizeBytes, want)
		}
	}
}

// The host was renamed on the array, or made anew there, after it was
// remembered.
func TestRememberedHostChanged(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	create(t, b, "vm1")
	must(t, b.array.Cache().Store(hostKey(kvm01.NQN), hostEntry{Name: "kvm01-old"}))
	grant(t, b, "vm1", kvm01, pool.Exclusive)
	wantConnections(t, r, "vm1 kvm01")
	// And while it holds the volume.
	v, _ := r.Volume("vm1")
	c := claimsOf(t, b, v.ID)[0]
	c.Place.Name = "kvm01-older"
	putClaim(t, b, v.ID, c)
	revoke(t, b, "vm1", kvm01)
	wantConnections(t, r)
}

// The host was renamed on the array between the two grants of a guest that
// arrives: the connection is volbridge's all the same.
func TestHostRenamedBetweenGrants(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	create(t, b, "vm1")
	grant(t, b, "vm1", kvm01, pool.Exclusive)
	v, _ := r.Volume("vm1")
	c := claimsOf(t, b, v.ID)[0]
	c.Place.Name = "kvm01-older"
	putClaim(t, b, v.ID, c)
	if c := grant(t, b, "vm1", kvm01, pool.Exclusive); c.Lasting {
		t.Error("the device is said to stay")
	}
	revoke(t, b, "vm1", kvm01)
	wantConnections(t, r)
}

// A grant that ends soon puts in doubt what was remembered, but not the volume,
// of which the array was asked just now.
func TestShortGrantKeepsWhatWasJustAsked(t *testing.T) {
	r := newRig(t, lab.Options{})
	create(t, r.open(t), "vm1")
	path := NVMeTCP.Path(serialOf(t, r, "vm1"))
	start(t, r.open(t), path, kvm01)
	revoke(t, r.open(t), "vm1", kvm01)
	r.calls()
	start(t, r.open(t), path, kvm01)
	got := strings.Join(r.calls(), ", ")
	if strings.Contains(got, "GET /volumes,") || !strings.Contains(got, "GET /hosts") || !strings.Contains(got, "GET /ports") {
		t.Errorf("asked %s", got)
	}
}
