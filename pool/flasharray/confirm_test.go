package flasharray

import (
	"slices"
	"testing"
	"time"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"

	lab "github.com/volbridge/volbridge/lab/flasharray"
)

func arrival(host pool.Host) pool.GrantRequest {
	return pool.GrantRequest{Volume: "vm1", Host: host, BootID: "boot", Owner: dom1, Mode: pool.Handover}
}

// arrived is a volume that the guest runs with on kvm02 and was granted to kvm01
// for its arrival; then a new process of kvm01 looks at the disk.
func arrived(t *testing.T, o lab.Options, change func(r rig, b *backend, v volume)) (r rig, hook *backend) {
	t.Helper()
	r = newRig(t, o)
	b := r.open(t)
	made := create(t, b, "vm1")
	source := arrival(kvm02)
	source.Mode = pool.Exclusive
	_, err := b.Grant(t.Context(), source)
	must(t, err)
	_, err = b.Grant(t.Context(), arrival(kvm01))
	must(t, err)
	v, err := b.find(t.Context(), "vm1")
	must(t, err)
	if change != nil {
		change(r, b, v)
	}
	hook = r.open(t)
	_, err = hook.LookupPath(t.Context(), hook.place.transport.Path(v.Serial))
	must(t, err)
	if made.Name != "vm1" {
		t.Fatalf("made %q", made.Name)
	}
	r.calls()
	return r, hook
}

// TestConfirm: what stands is confirmed by a single call, and is what a grant
// would say.
func TestConfirm(t *testing.T) {
	r, hook := arrived(t, lab.Options{}, nil)
	c, err := hook.Confirm(t.Context(), arrival(kvm01))
	if err != nil {
		t.Fatal(err)
	}
	if calls := r.calls(); !slices.Equal(calls, []string{"GET /volumes/tags"}) {
		t.Errorf("calls %q, want a look at the tags alone", calls)
	}
	want, err := r.open(t).Grant(t.Context(), arrival(kvm01))
	must(t, err)
	if c.Path != want.Path || c.Identity != want.Identity || c.SizeBytes != want.SizeBytes || c.Lasting != want.Lasting ||
		c.NVMe.SubsystemNQN != want.NVMe.SubsystemNQN || !slices.Equal(c.NVMe.Portals, want.NVMe.Portals) {
		t.Errorf("confirmed %+v, granted %+v", c, want)
	}
}

// TestConfirmOfAnotherConnection: one that an administrator made stays.
func TestConfirmOfAnotherConnection(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	create(t, b, "vm1")
	r.connect(t, "vm1", kvm01.Name)
	_, err := b.Grant(t.Context(), arrival(kvm01))
	must(t, err)
	v, err := b.find(t.Context(), "vm1")
	must(t, err)
	_, err = b.LookupPath(t.Context(), b.place.transport.Path(v.Serial))
	must(t, err)
	b.forgetKey(keptKey(v)) // the cache may be lost, the array remembers
	if c, err := b.Confirm(t.Context(), arrival(kvm01)); err != nil || !c.Lasting {
		t.Errorf("%+v, %v; want a connection that lasts", c, err)
	}
}

// TestNotConfirmed: whatever is not as the grant has left it has to be granted
// anew, and nothing is changed before that.
func TestNotConfirmed(t *testing.T) {
	claimOf := func(q pool.GrantRequest, arrayHost string) claims.Claim {
		return claims.Claim{Key: claims.NewKey(q.Host.ID, time.Now()), Place: claims.Place{Name: arrayHost},
			Holder: pool.Holder{Host: q.Host, Owner: q.Owner, Mode: q.Mode, BootID: q.BootID, Since: time.Now()}}
	}
	put := func(b *backend, v volume, c claims.Claim) { putClaim(t, b, v.ID, c) }
	other := pool.Owner{UUID: "d0000000-0000-4000-8000-000000000002", Name: "db"}
	for name, c := range map[string]struct {
		change func(r rig, b *backend, v volume)
		ask    func(q *pool.GrantRequest)
	}{
		"fenced": {change: func(_ rig, b *backend, _ volume) {
			must(t, b.Revoke(t.Context(), pool.RevokeRequest{Volume: "vm1", Host: kvm01}))
		}},
		"another domain":  {ask: func(q *pool.GrantRequest) { q.Owner = other }},
		"another boot":    {ask: func(q *pool.GrantRequest) { q.BootID = "boot-2" }},
		"another mode":    {ask: func(q *pool.GrantRequest) { q.Mode = pool.Multi }},
		"another name":    {ask: func(q *pool.GrantRequest) { q.Host.Name = "kvm01.example" }},
		"not for a start": {ask: func(q *pool.GrantRequest) { q.Mode = pool.Exclusive }},
		"two claims":      {change: func(_ rig, b *backend, v volume) { put(b, v, claimOf(arrival(kvm01), kvm01.Name)) }},
		"damaged": {change: func(_ rig, b *backend, v volume) {
			must(t, b.array.putTags(t.Context(), v.ID, newTag(claims.NewKey(kvm01.ID, time.Now()), "9 from the future")))
		}},
		"a holder in the way": {change: func(_ rig, b *backend, v volume) {
			q := arrival(kvm02)
			q.Owner = other
			put(b, v, claimOf(q, kvm02.Name))
		}},
		"being deleted": {change: func(_ rig, b *backend, v volume) {
			mark(t, b, v)
		}},
		"renamed": {change: func(_ rig, b *backend, v volume) {
			_, err := b.array.rename(t.Context(), v.ID, "vm2")
			must(t, err)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r, hook := arrived(t, lab.Options{}, c.change)
			q := arrival(kvm01)
			if c.ask != nil {
				c.ask(&q)
			}
			if got, err := hook.Confirm(t.Context(), q); err == nil {
				t.Errorf("confirmed: %+v", got)
			}
			for _, call := range r.calls() {
				if call[:4] != "GET " {
					t.Errorf("call %s changes something", call)
				}
			}
		})
	}
}

// TestConfirmInAHostGroup: there is no connection of the host's own.
func TestConfirmInAHostGroup(t *testing.T) {
	r := newRig(t, lab.Options{})
	r.settings.HostGroup = "group1"
	b := r.open(t)
	create(t, b, "vm1")
	_, err := b.Grant(t.Context(), arrival(kvm01))
	must(t, err)
	v, err := b.find(t.Context(), "vm1")
	must(t, err)
	_, err = b.LookupPath(t.Context(), b.place.transport.Path(v.Serial))
	must(t, err)
	if c, err := b.Confirm(t.Context(), arrival(kvm01)); err != nil || !c.Lasting {
		t.Errorf("%+v, %v; want a connection that lasts", c, err)
	}
}
