package pooltest

import (
	"context"
	"errors"
	"testing"

	"github.com/volbridge/volbridge/pool"
)

func testGrantRevoke(t *testing.T, _ Fixture, b Provider) {
	create(t, b, "vol1")
	must(t, revoke(t.Context(), b, "vol1", kvm01)) // what is not granted
	must(t, grant(t.Context(), b, "vol1", kvm01, dom1, pool.Exclusive))
	first, err := b.Holders(t.Context(), "vol1")
	must(t, err)
	must(t, grant(t.Context(), b, "vol1", kvm01, dom1, pool.Exclusive))
	second, err := b.Holders(t.Context(), "vol1")
	must(t, err)
	if len(first) != 1 || len(second) != 1 || !first[0].Since.Equal(second[0].Since) || first[0].Owner != dom1 || !same(first[0].Host, kvm01) {
		t.Errorf("granted once %+v, twice %+v", first, second)
	}
	must(t, revoke(t.Context(), b, "vol1", kvm02))
	must(t, revoke(t.Context(), b, "vol1", twin))
	wantHolds(t, b, "vol1", "kvm01/web/exclusive")
	for range 2 {
		must(t, revoke(t.Context(), b, "vol1", kvm01))
	}
	wantHolds(t, b, "vol1", "")
}

// testRules: one host holds the volume, another request comes.
func testRules(t *testing.T, f Fixture, b Provider) {
	type request struct {
		host  pool.Host
		owner pool.Owner
		mode  pool.AccessMode
	}
	for _, c := range []struct {
		name        string
		first, then request
		want        string // who holds it in the end; "" if then is refused
	}{
		{"exclusive, exclusive elsewhere", request{kvm01, dom1, pool.Exclusive}, request{kvm02, dom1, pool.Exclusive}, ""},
		{"exclusive, exclusive on a twin", request{kvm01, dom1, pool.Exclusive}, request{twin, dom1, pool.Exclusive}, ""},
		{"exclusive, multi elsewhere", request{kvm01, dom1, pool.Exclusive}, request{kvm02, dom2, pool.Multi}, ""},
		{"exclusive, handover", request{kvm01, dom1, pool.Exclusive}, request{kvm02, dom1, pool.Handover}, "kvm01/web/exclusive kvm02/web/handover"},
		{"exclusive, handover to a twin", request{kvm01, dom1, pool.Exclusive}, request{twin, dom1, pool.Handover}, "kvm01/web/exclusive twin/web/handover"},
		{"exclusive, handover of another domain", request{kvm01, dom1, pool.Exclusive}, request{kvm02, dom2, pool.Handover}, ""},
		{"left handover, cold start elsewhere", request{kvm01, dom1, pool.Handover}, request{kvm02, dom1, pool.Exclusive}, ""},
		{"multi, multi", request{kvm01, dom1, pool.Multi}, request{kvm02, dom2, pool.Multi}, "kvm01/web/multi kvm02/db/multi"},
		{"multi, exclusive", request{kvm01, dom1, pool.Multi}, request{kvm02, dom2, pool.Exclusive}, ""},
		{"multi, handover", request{kvm01, dom1, pool.Multi}, request{kvm02, dom1, pool.Handover}, ""},
		{"same host and owner, looser", request{kvm01, dom1, pool.Exclusive}, request{kvm01, dom1, pool.Multi}, "kvm01/web/multi"},
		{"same host and owner, tighter", request{kvm01, dom1, pool.Handover}, request{kvm01, dom1, pool.Exclusive}, "kvm01/web/exclusive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if f.PeerOwnersUnknown && c.then.mode == pool.Handover && c.want == "" {
				t.Skip("whose the other host's grant is, nobody knows")
			}
			name := "v" + newID()
			create(t, b, name)
			must(t, grant(t.Context(), b, name, c.first.host, c.first.owner, c.first.mode))
			before := holds(t, b, name)
			err := grant(t.Context(), b, name, c.then.host, c.then.owner, c.then.mode)
			if c.want != "" {
				must(t, err)
				wantHolds(t, b, name, c.want)
				return
			}
			var held *pool.HeldError
			if !errors.As(err, &held) || len(held.Holders) != 1 || !same(held.Holders[0].Host, c.first.host) || held.Volume != name {
				t.Errorf("error %v", err)
			}
			wantHolds(t, b, name, before)
		})
	}
}

func testHandover(t *testing.T, _ Fixture, b Provider) {
	ctx := t.Context()
	create(t, b, "vol1")
	must(t, grant(ctx, b, "vol1", kvm01, dom1, pool.Exclusive))

	// It rolls back, when it was announced and when it came.
	announced := pool.GrantRequest{Volume: "vol1", Host: kvm02, BootID: boot1, Owner: dom1, Mode: pool.Handover, Pending: true}
	for range 2 {
		_, err := b.Grant(ctx, announced)
		must(t, err)
		must(t, revoke(ctx, b, "vol1", kvm02))
		wantHolds(t, b, "vol1", "kvm01/web/exclusive")
		must(t, grant(ctx, b, "vol1", kvm02, dom1, pool.Handover))
		must(t, revoke(ctx, b, "vol1", kvm02))
		wantHolds(t, b, "vol1", "kvm01/web/exclusive")
	}

	// It arrives, announced and told twice, and neither side may start it cold meanwhile.
	for range 2 {
		_, err := b.Grant(ctx, announced)
		must(t, err)
	}
	for range 2 {
		must(t, grant(ctx, b, "vol1", kvm02, dom1, pool.Handover))
	}
	for _, host := range []pool.Host{kvm01, kvm02} {
		var held *pool.HeldError
		if err := grant(ctx, b, "vol1", host, dom1, pool.Exclusive); !errors.As(err, &held) {
			t.Errorf("cold start on %s during the handover: %v", host.Name, err)
		}
	}
	wantHolds(t, b, "vol1", "kvm01/web/exclusive kvm02/web/handover")
	must(t, revoke(ctx, b, "vol1", kvm01))
	wantHolds(t, b, "vol1", "kvm02/web/handover")

	// And back again.
	must(t, grant(ctx, b, "vol1", kvm01, dom1, pool.Handover))
	must(t, revoke(ctx, b, "vol1", kvm02))
	wantHolds(t, b, "vol1", "kvm01/web/handover")
}

func testTwoOwners(t *testing.T, _ Fixture, b Provider) {
	ctx := t.Context()
	create(t, b, "vol1")
	must(t, grant(ctx, b, "vol1", kvm01, dom1, pool.Exclusive))
	var held *pool.HeldError
	for _, mode := range []pool.AccessMode{pool.Exclusive, pool.Handover, pool.Multi} {
		if err := grant(ctx, b, "vol1", kvm01, dom2, mode); !errors.As(err, &held) {
			t.Errorf("%s beside another domain on the same host: %v", mode, err)
		}
	}
	wantHolds(t, b, "vol1", "kvm01/web/exclusive")
	must(t, revoke(ctx, b, "vol1", kvm01))
	must(t, grant(ctx, b, "vol1", kvm01, dom1, pool.Multi))
	must(t, grant(ctx, b, "vol1", kvm01, dom2, pool.Multi))
	must(t, grant(ctx, b, "vol1", kvm02, dom2, pool.Multi))
	wantHolds(t, b, "vol1", "kvm01/web/multi kvm01/db/multi kvm02/db/multi")
	must(t, revoke(ctx, b, "vol1", kvm01))
	wantHolds(t, b, "vol1", "kvm02/db/multi")
}

func testBadRequests(t *testing.T, _ Fixture, b Provider) {
	create(t, b, "vol1")
	for what, r := range map[string]pool.GrantRequest{
		"no host name": {Host: pool.Host{ID: "x"}, BootID: boot1, Owner: dom1, Mode: pool.Exclusive},
		"no host id":   {Host: pool.Host{Name: "x"}, BootID: boot1, Owner: dom1, Mode: pool.Exclusive},
		"no boot":      {Host: kvm01, Owner: dom1, Mode: pool.Exclusive},
		"no owner":     {Host: kvm01, BootID: boot1, Mode: pool.Exclusive},
		"no mode":      {Host: kvm01, BootID: boot1, Owner: dom1},
		"other mode":   {Host: kvm01, BootID: boot1, Owner: dom1, Mode: "rw"},
	} {
		r.Volume = "vol1"
		if _, err := b.Grant(t.Context(), r); err == nil {
			t.Errorf("%s: granted", what)
		}
	}
	if err := revoke(t.Context(), b, "vol1", pool.Host{}); err == nil {
		t.Error("revoked from no host")
	}
	if err := b.Revoke(t.Context(), pool.RevokeRequest{Volume: "vol1", Host: kvm01, BootIDs: []string{""}}); err == nil {
		t.Error("revoked from a boot without an id")
	}
	if _, err := b.Connection(t.Context(), "vol1", pool.Host{}); err == nil {
		t.Error("a connection for no host")
	}
	wantHolds(t, b, "vol1", "")
}

// testEndedContext: calls return, and what is left is clear once the call was
// repeated.
func testEndedContext(t *testing.T, _ Fixture, b Provider) {
	create(t, b, "vol1")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, lookup := b.Lookup(ended, "vol1")
	_, list := b.List(ended)
	_, holders := b.Holders(ended, "vol1")
	_, connection := b.Connection(ended, "vol1", kvm01)
	_, resize := b.Resize(ended, "vol1", 4*mib)
	_, made := b.Create(ended, pool.CreateRequest{Name: "vol2", SizeBytes: mib, CreationID: "x"})
	for what, err := range map[string]error{
		"Lookup": lookup, "List": list, "Holders": holders, "Connection": connection, "Resize": resize, "Create": made,
		"Grant":  grant(ended, b, "vol1", kvm01, dom1, pool.Exclusive),
		"Revoke": revoke(ended, b, "vol1", kvm01),
		"Delete": b.Delete(ended, "vol1", ""),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	ctx := t.Context()
	_, err := b.Create(ctx, pool.CreateRequest{Name: "vol2", SizeBytes: mib, CreationID: "x"})
	must(t, err)
	must(t, grant(ctx, b, "vol2", kvm01, dom1, pool.Exclusive))
	must(t, revoke(ctx, b, "vol2", kvm01))
	must(t, b.Delete(ctx, "vol2", "x"))
	must(t, b.Delete(ctx, "vol1", ""))
}
