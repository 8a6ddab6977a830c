package flasharray

import (
	"testing"
	"time"

	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
)

const oneHolder = "vm1 1MiB mine kvm01/exclusive"

// fence is what `volume revoke` asks for on another host.
var fence = pool.RevokeRequest{Volume: "vm1", Host: kvm01, BootIDs: []string{"boot-1"}}

// asking is a host in the middle of a grant: its claim is there.
func asking(t *testing.T, r rig, b *backend) (*announcement, volume) {
	t.Helper()
	v, _ := r.Volume("vm1")
	a, err := b.announce(t.Context(), request("vm1", kvm01, dom1, pool.Exclusive), asVolume(v), way{host: "kvm01"})
	must(t, err, a.ready(t.Context()))
	return a, asVolume(v)
}

// goesOn is the rest of that grant.
func goesOn(t *testing.T, b *backend, a *announcement, v volume) {
	t.Helper()
	_, came, err := b.array.connect(t.Context(), way{host: "kvm01"}, v)
	must(t, err)
	a.judgeConnection(came)
	must(t, a.settle(t.Context(), came))
}

// A host is fenced while it asks for the volume for the first time: its claim is
// not taken away before its connection has come, or cannot come any more.
func TestFencingAHostThatIsAsking(t *testing.T) {
	r := newRig(t, lab.Options{})
	here, there := r.open(t), r.elsewhere(t)
	create(t, here, "vm1")
	here.noteSelf(kvm01, way{host: "kvm01"})
	a, v := asking(t, r, here)
	wantError(t, "fencing", there.Revoke(t.Context(), fence), "host kvm01 asked for volume vm1", "nothing was changed", "repeat this in")
	goesOn(t, here, a, v)
	if got := r.state(t); got != oneHolder {
		t.Errorf("the array has %s", got)
	}
	must(t, there.Revoke(t.Context(), fence))
	if got := r.state(t); got != "vm1 1MiB mine" {
		t.Errorf("fenced: %s", got)
	}
	// The host died between the two.
	asking(t, r, here)
	there.now = func() time.Time { return time.Now().Add(there.inFlight()) }
	must(t, there.Revoke(t.Context(), fence))
	if got := r.state(t); got != "vm1 1MiB mine" {
		t.Errorf("fenced: %s", got)
	}
}

// A host is fenced while it asks again for what it holds. The connection that it
// makes anew has a claim, whichever of its claims the other host has seen.
func TestFencingAHostThatAsksAgain(t *testing.T) {
	for name, late := range map[string]bool{"its new claim was seen": true, "its new claim was not seen": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, lab.Options{})
			here, there := r.open(t), r.elsewhere(t)
			create(t, here, "vm1")
			grant(t, here, "vm1", kvm01, pool.Exclusive)
			var a *announcement
			v, _ := r.Volume("vm1")
			if late {
				a, _ = asking(t, r, here)
			}
			meant, stay, err := there.ledger(asVolume(v)).Split(fence, claimsOf(t, there, v.ID))
			must(t, err)
			if !late {
				a, _ = asking(t, r, here)
			}
			must(t, there.disconnect(t.Context(), fence, asVolume(v), meant, stay))
			goesOn(t, here, a, asVolume(v))
			must(t, there.array.dropTags(t.Context(), v.ID, claims.Keys(meant)...))
			err = there.stillAsking(t.Context(), fence, asVolume(v))
			wantError(t, "fencing", err, "asked for the volume again", "it is alive")
			if got := r.state(t); got != oneHolder {
				t.Errorf("the array has %s", got)
			}
		})
	}
}
