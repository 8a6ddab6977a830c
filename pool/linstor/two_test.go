package linstor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	lab "github.com/volbridge/volbridge/lab/linstor"
	"github.com/volbridge/volbridge/pool"
)

// Where two primaries are allowed depends on the two nodes alone.
func TestLevel(t *testing.T) {
	replica := func(n string) nodeState { return nodeState{name: n} }
	client := func(n string) nodeState { return nodeState{name: n, diskless: true} }
	tie := func(n string) nodeState { return nodeState{name: n, diskless: true, tieBreaker: true} }
	for _, c := range []struct {
		name  string
		nodes []nodeState
		x, y  string
		want  level // "": refused
	}{
		{"both diskless", []nodeState{client("a"), client("b"), replica("c")}, "a", "b", onResource},
		{"the first diskless", []nodeState{client("a"), replica("b")}, "a", "b", onConnection},
		{"the second diskless", []nodeState{replica("a"), client("b")}, "a", "b", onConnection},
		{"none diskless", []nodeState{replica("a"), replica("b")}, "a", "b", onConnection},
		{"three replicas", []nodeState{replica("a"), replica("b"), replica("c")}, "a", "c", onConnection},
		{"three clients, two of them meant", []nodeState{client("a"), client("b"), client("c"), replica("d")}, "c", "a", onResource},
		{"a tie-breaker and a client", []nodeState{tie("a"), client("b"), replica("c"), replica("d")}, "a", "b", onResource},
		{"a tie-breaker and a replica", []nodeState{tie("a"), replica("b"), replica("c")}, "a", "b", onConnection},
		{"another case", []nodeState{client("KVM01"), client("kvm02"), replica("c")}, "kvm01", "KVM02", onResource},
		{"a node without the volume", []nodeState{client("a"), replica("c")}, "a", "b", ""},
		{"one node", []nodeState{client("a"), replica("c")}, "a", "A", ""},
		{"nothing", nil, "a", "b", ""},
	} {
		got, err := levelOf(deployment{nodes: c.nodes}, c.x, c.y)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

// An offline third node is of no matter, not even where the controller does not
// know what it does.
func TestHandoverBesideOfflineNode(t *testing.T) {
	r := newRig(t, lab.Options{NoTieBreaker: true})
	b := r.open(t)
	create(t, b, "vm1")
	r.SetOnline("store2", false)
	grant(t, b, "vm1", kvm01, pool.Exclusive)
	grant(t, b, "vm1", kvm02, pool.Handover)
	r.wantOn(t, "handover", "vm1", "kvm01 diskless, kvm02 diskless, store1, store2", "resource")
	revoke(t, b, "vm1", kvm01)
	r.wantOn(t, "arrived", "vm1", "kvm02 diskless, store1, store2", "")
}

// Each way that two hosts can hold a volume: two primaries are on while both do,
// at the right level, and what was made for the grants is gone afterwards.
func TestHandoverOnEachLevel(t *testing.T) {
	for _, c := range []struct {
		name            string
		from, to        pool.Host
		during, set     string
		arrived, nobody string
	}{
		{"two clients", kvm01, kvm02,
			"kvm01 diskless, kvm02 diskless, store1, store2", "resource", "kvm02 diskless, store1, store2", "store1, store2"},
		{"replica to client", store, kvm02,
			"kvm02 diskless, store1, store2", "kvm02+store1", "kvm02 diskless, store1, store2", "store1, store2"},
		{"client to replica", kvm01, store,
			"kvm01 diskless, store1, store2", "kvm01+store1", "store1, store2", "store1, store2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, lab.Options{NoTieBreaker: true})
			b := r.open(t)
			create(t, b, "vm1")
			grant(t, b, "vm1", c.from, pool.Exclusive)
			if c := grant(t, b, "vm1", c.to, pool.Handover); !c.DRBD.Arriving {
				t.Error("the connection does not say that a guest arrives")
			}
			r.wantOn(t, "during", "vm1", c.during, c.set)
			if got := r.volume(t, "vm1").TwoPrimaries; !slices.Contains(got, c.from.Name+"+"+c.to.Name) && !slices.Contains(got, c.to.Name+"+"+c.from.Name) {
				t.Errorf("two primaries: %v", got)
			}
			revoke(t, b, "vm1", c.from)
			r.wantOn(t, "arrived", "vm1", c.arrived, "")
			revoke(t, b, "vm1", c.to)
			r.wantOn(t, "nobody", "vm1", c.nobody, "")
			if d := r.volume(t, "vm1"); strings.Contains(fmt.Sprint(d.Props), twoNote) || d.Props[protocol] != "" {
				t.Errorf("left: %v", d.Props)
			}
		})
	}
}

// A guest that is only announced may not write beside the one that runs. When it
// comes it may.
func TestAnnounced(t *testing.T) {
	for _, c := range []struct {
		name        string
		from, to    pool.Host
		during, set string
	}{
		{"between clients", kvm01, kvm02, "kvm01 diskless, kvm02 diskless, store1, store2", "resource"},
		{"from a replica", store, kvm02, "kvm02 diskless, store1, store2", "kvm02+store1"},
		{"to a replica", kvm01, store, "kvm01 diskless, store1, store2", "kvm01+store1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, lab.Options{NoTieBreaker: true})
			b := r.open(t)
			create(t, b, "vm1")
			grant(t, b, "vm1", c.from, pool.Exclusive)
			for range 2 {
				got, err := b.Grant(t.Context(), announced(c.to))
				must(t, err)
				if !got.DRBD.Closed || !got.DRBD.Arriving {
					t.Errorf("announced: %+v", got.DRBD)
				}
				r.wantOn(t, "announced", "vm1", c.during, "")
			}
			got := grant(t, b, "vm1", c.to, pool.Handover)
			if got.DRBD.Closed || !got.DRBD.Arriving {
				t.Errorf("it comes: %+v", got.DRBD)
			}
			r.wantOn(t, "it comes", "vm1", c.during, c.set)
			revoke(t, b, "vm1", c.from)
			r.wantOn(t, "arrived", "vm1", strings.Replace(c.during, "kvm01 diskless, ", "", 1), "")
		})
	}
}

// What stands in the way of two that write is said when the guest is announced.
func TestAnnouncedInVain(t *testing.T) {
	r := newRig(t, lab.Options{NoTieBreaker: true})
	b := r.open(t)
	create(t, b, "vm1")
	grant(t, b, "vm1", store, pool.Exclusive)
	_, err := b.Grant(t.Context(), announced(kvm02)) // so that there is a connection
	must(t, err)
	must(t, b.linstor.ModifyConnection(t.Context(), "vb-vm1", "kvm02", "store1", map[string]string{protocol: "A"}))
	if _, err := b.Grant(t.Context(), announced(kvm02)); err == nil || !strings.Contains(err.Error(), "resource-connection set-property kvm02 store1") {
		t.Errorf("announced: %v", err)
	}
	revoke(t, b, "vm1", kvm02)
	r.wantOn(t, "not announced", "vm1", "store1, store2", "")
}

// What is announced for a guest alone, or for one that shares the volume, is
// granted whole.
func TestAnnouncedAlone(t *testing.T) {
	r := newRig(t, lab.Options{NoTieBreaker: true})
	b := r.open(t)
	create(t, b, "vm1")
	if c, err := b.Grant(t.Context(), announced(kvm02)); err != nil || c.DRBD.Closed {
		t.Errorf("alone: %+v, %v", c.DRBD, err)
	}
	revoke(t, b, "vm1", kvm02)
	grant(t, b, "vm1", kvm01, pool.Multi)
	q := announced(kvm02)
	q.Mode = pool.Multi
	if c, err := b.Grant(t.Context(), q); err != nil || c.DRBD.Closed {
		t.Errorf("shared: %+v, %v", c.DRBD, err)
	}
	r.wantOn(t, "shared", "vm1", "kvm01 diskless, kvm02 diskless, store1, store2", "resource")
}

// Of three hosts that share a volume two are still allowed to write when one goes.
func TestThreeHoldersShare(t *testing.T) {
	r := newRig(t, lab.Options{NoTieBreaker: true})
	b := r.open(t)
	create(t, b, "vm1")
	for _, h := range []pool.Host{kvm01, kvm02, store} {
		grant(t, b, "vm1", h, pool.Multi)
	}
	r.wantOn(t, "three", "vm1", "kvm01 diskless, kvm02 diskless, store1, store2", "kvm01+store1, kvm02+store1, resource")
	revoke(t, b, "vm1", kvm01)
	if d := r.volume(t, "vm1"); !slices.Contains(d.TwoPrimaries, "kvm02+store1") {
		t.Errorf("two are left, and may write: %v", d.TwoPrimaries)
	}
	revoke(t, b, "vm1", store)
	r.wantOn(t, "one", "vm1", "kvm02 diskless, store1, store2", "")
}

// What an administrator has set is not ours to undo.
func TestAdministratorsTwoPrimariesStay(t *testing.T) {
	for _, props := range []map[string]string{{allowTwo: yes, protocol: protocolC}, {allowTwo: yes}} {
		r := newRig(t, lab.Options{NoTieBreaker: true})
		b := r.open(t)
		create(t, b, "vm1")
		must(t, b.linstor.ModifyDefinition(t.Context(), "vb-vm1", props))
		grant(t, b, "vm1", kvm01, pool.Exclusive)
		grant(t, b, "vm1", kvm02, pool.Handover)
		revoke(t, b, "vm1", kvm01)
		revoke(t, b, "vm1", kvm02)
		r.wantOn(t, "afterwards", "vm1", "store1, store2", "resource")
		if got := r.volume(t, "vm1").Props[protocol]; got != props[protocol] {
			t.Errorf("with %v the protocol is %q afterwards", props, got)
		}
	}
}

// What somebody else has set on the connection of two nodes is neither used nor
// removed: the arrival is refused, and the message says what to do.
func TestAdministratorsConnectionStays(t *testing.T) {
	for key, value := range map[string]string{allowTwo: yes, protocol: "A"} {
		r := newRig(t, lab.Options{NoTieBreaker: true})
		b := r.open(t)
		create(t, b, "vm1")
		grant(t, b, "vm1", store, pool.Exclusive)
		must(t, b.linstor.MakeAvailable(t.Context(), "vb-vm1", "kvm02", false))
		must(t, b.linstor.ModifyConnection(t.Context(), "vb-vm1", "kvm02", "store1", map[string]string{key: value}))
		_, err := b.Grant(t.Context(), request("vm1", kvm02, dom1, pool.Handover))
		wantError(t, "grant", err, "kvm02", "store1", key+"="+value, "linstor resource-connection set-property")
		props, err := b.linstor.ConnectionProps(t.Context(), "vb-vm1", "kvm02", "store1")
		if must(t, err); props[key] != value {
			t.Errorf("the connection has %v afterwards", props)
		}
		revoke(t, b, "vm1", kvm02)
		revoke(t, b, "vm1", store)
		if props, err := b.linstor.ConnectionProps(t.Context(), "vb-vm1", "kvm02", "store1"); err != nil || props[key] != value {
			t.Errorf("%s: the connection has %v in the end, %v", key, props, err)
		}
	}
}

// Another protocol of the volume comes back.
func TestProtocolComesBack(t *testing.T) {
	r := newRig(t, lab.Options{NoTieBreaker: true})
	b := r.open(t)
	create(t, b, "vm1")
	must(t, b.linstor.ModifyDefinition(t.Context(), "vb-vm1", map[string]string{protocol: "A"}))
	grant(t, b, "vm1", kvm01, pool.Exclusive)
	grant(t, b, "vm1", kvm02, pool.Handover)
	if got := r.volume(t, "vm1").Props[protocol]; got != protocolC {
		t.Errorf("protocol %q during the handover", got)
	}
	revoke(t, b, "vm1", kvm01)
	if got := r.volume(t, "vm1").Props[protocol]; got != "A" {
		t.Errorf("protocol %q afterwards", got)
	}
}

// The source returns its grant at each moment of the destination's request, and
// the other way round: two primaries are never left on with one holder.
func TestSourceLeavesDuringHandover(t *testing.T) {
	for _, nodes := range []struct {
		from, to pool.Host
		left     string
	}{{kvm01, kvm02, "kvm02 diskless, store1, store2"}, {store, kvm02, "kvm02 diskless, store1, store2"}, {kvm01, store, "store1, store2"}} {
		leave := func(r rig) error {
			return r.open(t).Revoke(t.Context(), pool.RevokeRequest{Volume: "vm1", Host: nodes.from})
		}
		arrive := func(r rig) error {
			_, err := r.open(t).Grant(t.Context(), request("vm1", nodes.to, dom1, pool.Handover))
			return err
		}
		for _, c := range []struct {
			name         string
			first, other func(rig) error
		}{{"leave during arrival", arrive, leave}, {"arrive during leaving", leave, arrive}} {
			for n := 1; ; n++ {
				r := newRig(t, lab.Options{NoTieBreaker: true})
				b := r.open(t)
				create(t, b, "vm1")
				grant(t, b, "vm1", nodes.from, pool.Exclusive)
				var struck atomic.Bool
				r.FailAt(n, lab.Fault{Then: func() {
					struck.Store(true)
					must(t, c.other(r))
				}})
				what := fmt.Sprintf("%s to %s, %s, before call %d", nodes.from.Name, nodes.to.Name, c.name, n)
				if err := c.first(r); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if !struck.Load() {
					break
				}
				r.wantOn(t, what, "vm1", nodes.left, "")
			}
		}
	}
}

// Somebody uses the volume by hand: a holder, in every mode.
func TestUsedByHand(t *testing.T) {
	r := newRig(t, lab.Options{NoTieBreaker: true})
	b := r.open(t)
	create(t, b, "vm1")
	r.SetInUse("vb-vm1", "store2", true)
	for _, m := range []pool.AccessMode{pool.Exclusive, pool.Handover, pool.Multi} {
		_, err := b.Grant(t.Context(), request("vm1", kvm01, dom1, m))
		var held *pool.HeldError
		if !errors.As(err, &held) || held.Holders[0].Host.Name != "store2" {
			t.Errorf("%s: %v", m, err)
		}
		wantError(t, string(m), err, "node store2 uses the volume without volbridge")
	}
	r.wantOn(t, "refused", "vm1", "store1, store2", "")
	holders, err := b.Holders(t.Context(), "vm1")
	if err != nil || len(holders) != 1 || holders[0].Host.Name != "store2" {
		t.Errorf("holders %v, %v", holders, err)
	}
	var held *pool.HeldError
	if err := b.Delete(t.Context(), "vm1", "mine"); !errors.As(err, &held) {
		t.Errorf("delete: %v", err)
	}
	r.SetInUse("vb-vm1", "store2", false)
	grant(t, b, "vm1", kvm01, pool.Exclusive)
	r.SetInUse("vb-vm1", "kvm01", true) // its holder uses it
	grant(t, b, "vm1", kvm02, pool.Handover)
}

// What a crash has left on with one holder goes with the next grant, and with
// the next revoke.
func TestLeftTwoPrimariesGo(t *testing.T) {
	for what, do := range map[string]func(*backend) error{
		"grant": func(b *backend) error {
			_, err := b.Grant(t.Context(), request("vm1", kvm01, dom1, pool.Exclusive))
			return err
		},
		"revoke": func(b *backend) error {
			return b.Revoke(t.Context(), pool.RevokeRequest{Volume: "vm1", Host: kvm01})
		},
	} {
		r := newRig(t, lab.Options{NoTieBreaker: true})
		b := r.open(t)
		create(t, b, "vm1")
		grant(t, b, "vm1", kvm01, pool.Exclusive)
		left := newPair(onResource, "kvm01", "store1", "").note()
		for k, v := range left {
			must(t, b.linstor.ModifyDefinition(t.Context(), "vb-vm1", map[string]string{noteSpace + k: v, allowTwo: yes, protocol: protocolC}))
		}
		must(t, b.linstor.ModifyConnection(t.Context(), "vb-vm1", "kvm01", "store1", map[string]string{allowTwo: yes}))
		must(t, do(b))
		if d := r.volume(t, "vm1"); len(d.Set) > 0 || strings.Contains(fmt.Sprint(d.Props), twoNote) {
			t.Errorf("%s: left on %v, %v", what, d.Set, d.Props)
		}
	}
}
