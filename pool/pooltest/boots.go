package pooltest

import (
	"errors"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/pool"
)

// since returns a request of kvm01 from one boot, with the boot that its own
// record names.
func since(volume, bootID, prior string, o pool.Owner, m pool.AccessMode) pool.GrantRequest {
	return pool.GrantRequest{Volume: volume, Host: kvm01, BootID: bootID, PriorBootID: prior, Owner: o, Mode: m}
}

// wantBoot fails unless kvm01's id holds the volume, once, from this boot.
func wantBoot(t *testing.T, b Provider, volume, bootID string) {
	t.Helper()
	holders, err := b.Holders(t.Context(), volume)
	must(t, err)
	if len(holders) != 1 || holders[0].Host.ID != kvm01.ID || holders[0].BootID != bootID {
		t.Errorf("held by %+v, want kvm01 from boot %s", holders, bootID)
	}
}

// testClone: two machines have one id. Whatever the second asks for, the first
// stands in its way, and is named as what it may be.
func testClone(t *testing.T, _ Fixture, b Provider) {
	for _, has := range []pool.AccessMode{pool.Exclusive, pool.Handover, pool.Multi} {
		for _, wants := range []pool.AccessMode{pool.Exclusive, pool.Handover, pool.Multi} {
			for _, owner := range []pool.Owner{dom1, dom2} {
				name := "v" + newID()
				create(t, b, name)
				must(t, grant(t.Context(), b, name, kvm01, dom1, has))
				for _, prior := range []string{"", boot3} {
					_, err := b.Grant(t.Context(), since(name, boot2, prior, owner, wants))
					var held *pool.HeldError
					if !errors.As(err, &held) || len(held.Holders) != 1 || !strings.Contains(err.Error(), "clone") {
						t.Errorf("%s for %s beside the %s of a clone: %v", wants, owner.Name, has, err)
					}
				}
				wantHolds(t, b, name, "kvm01/web/"+string(has))
				wantBoot(t, b, name, boot1)
			}
		}
	}
}

// testReboot: what a host held before it was booted again is its own, as far
// as its record says so.
func testReboot(t *testing.T, _ Fixture, b Provider) {
	ctx := t.Context()
	create(t, b, "vol1")
	must(t, grant(ctx, b, "vol1", kvm01, dom1, pool.Exclusive))
	for range 2 { // the reply may be lost
		_, err := b.Grant(ctx, since("vol1", boot2, boot1, dom1, pool.Exclusive))
		must(t, err)
		wantBoot(t, b, "vol1", boot2)
	}
	wantHolds(t, b, "vol1", "kvm01/web/exclusive")
	var held *pool.HeldError
	if err := grant(ctx, b, "vol1", kvm01, dom1, pool.Exclusive); !errors.As(err, &held) {
		t.Errorf("the earlier boot, which may be a clone: %v", err)
	}
	if _, err := b.Grant(ctx, since("vol1", boot3, boot2, dom2, pool.Exclusive)); !errors.As(err, &held) {
		t.Errorf("another domain after the reboot: %v", err)
	}
	wantBoot(t, b, "vol1", boot2)

	// Two domains on one host, one after the other.
	create(t, b, "vol2")
	must(t, grant(ctx, b, "vol2", kvm01, dom1, pool.Multi))
	must(t, grant(ctx, b, "vol2", kvm01, dom2, pool.Multi))
	for _, o := range []pool.Owner{dom2, dom1} {
		_, err := b.Grant(ctx, since("vol2", boot2, boot1, o, pool.Multi))
		must(t, err)
	}
	wantHolds(t, b, "vol2", "kvm01/web/multi kvm01/db/multi")
}

// testRenamed: the name of a host changes while it holds a volume.
func testRenamed(t *testing.T, _ Fixture, b Provider) {
	ctx := t.Context()
	create(t, b, "vol1")
	must(t, grant(ctx, b, "vol1", kvm01, dom1, pool.Exclusive))
	renamed := host("other", kvm01.ID)
	must(t, grant(ctx, b, "vol1", renamed, dom1, pool.Exclusive))
	wantHolds(t, b, "vol1", "other/web/exclusive")
	must(t, revoke(ctx, b, "vol1", kvm01))
	wantHolds(t, b, "vol1", "")
}

func testRevokeByBoot(t *testing.T, _ Fixture, b Provider) {
	ctx := t.Context()
	create(t, b, "vol1")
	by := func(boots ...string) error {
		return b.Revoke(ctx, pool.RevokeRequest{Volume: "vol1", Host: kvm01, BootIDs: boots})
	}
	must(t, by(boot1)) // what is not granted
	must(t, grant(ctx, b, "vol1", kvm01, dom1, pool.Exclusive))
	if err := by(boot2, boot3); !errors.Is(err, pool.ErrOtherBoot) {
		t.Errorf("from other boots: %v", err)
	}
	wantBoot(t, b, "vol1", boot1)
	must(t, by(boot2, boot1))
	wantHolds(t, b, "vol1", "")
	must(t, by(boot2))
	must(t, b.Delete(ctx, "vol1", ""))
	must(t, by(boot2)) // of a volume that is gone
}
