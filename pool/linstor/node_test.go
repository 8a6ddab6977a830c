package linstor

import (
	"errors"
	"strings"
	"testing"

	lab "github.com/volbridge/volbridge/lab/linstor"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/linstor/rest"
)

// What a grant makes goes with it; a replica, a vote and what an administrator
// made stay.
func TestWhatStaysOnANode(t *testing.T) {
	for _, c := range []struct {
		name           string
		host           pool.Host
		tieBreaker     bool
		diskful        bool
		before         bool // an administrator made the volume available there
		during, after  string
		lasting        bool
		storageOnHosts bool
	}{
		{name: "a client", host: kvm01, during: "kvm01 diskless, store1, store2", after: "store1, store2"},
		{name: "a replica", host: store, during: "store1, store2", after: "store1, store2", lasting: true},
		{name: "a tie-breaker", host: kvm01, tieBreaker: true, during: "kvm01 diskless, store1, store2", after: "kvm01 tie-breaker, store1, store2"},
		{name: "an administrator's client", host: kvm01, before: true, during: "kvm01 diskless, store1, store2", after: "kvm01 diskless, store1, store2", lasting: true},
		{name: "diskful", host: kvm01, diskful: true, storageOnHosts: true, during: "kvm01, store1, store2", after: "kvm01, store1, store2", lasting: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, lab.Options{NoTieBreaker: !c.tieBreaker})
			r.settings.Diskful = c.diskful
			if c.storageOnHosts {
				r.giveStorage("kvm01")
			}
			b := r.open(t)
			create(t, b, "vm1")
			if c.before {
				must(t, b.linstor.MakeAvailable(t.Context(), "vb-vm1", c.host.Name, false))
			}
			for range 2 {
				if got := grant(t, b, "vm1", c.host, pool.Exclusive); got.Lasting != c.lasting {
					t.Errorf("lasting %v", got.Lasting)
				}
			}
			r.wantOn(t, "granted", "vm1", c.during, "")
			for range 2 {
				revoke(t, b, "vm1", c.host)
			}
			r.wantOn(t, "revoked", "vm1", c.after, "")
		})
	}
}

// The last domain of a host takes the client away; a host under another name of
// its node leaves nothing under the old one.
func TestClientOfTwoGrants(t *testing.T) {
	r := newRig(t, lab.Options{NoTieBreaker: true})
	b := r.open(t)
	create(t, b, "vm1")
	grant(t, b, "vm1", kvm01, pool.Exclusive)
	renamed := pool.Host{Name: "other", ID: kvm01.ID}
	grant(t, b, "vm1", renamed, pool.Exclusive)
	r.wantOn(t, "under another name", "vm1", "other diskless, store1, store2", "")
	revoke(t, b, "vm1", renamed)
	r.wantOn(t, "revoked", "vm1", "store1, store2", "")
}

// A refusal of the controller leaves neither claim nor client.
func TestRefusedGrantLeavesNothing(t *testing.T) {
	r := newRig(t, lab.Options{NoTieBreaker: true})
	b := r.open(t)
	create(t, b, "vm1")
	r.SetOnline("kvm01", false)
	_, err := b.Grant(t.Context(), request("vm1", kvm01, dom1, pool.Exclusive))
	wantError(t, "offline", err, "No active connection to satellite 'kvm01'", "linstor node list")
	if !errors.Is(err, rest.ErrOffline) {
		t.Errorf("%v", err)
	}
	_, err = b.Grant(t.Context(), request("vm1", pool.Host{Name: "nobody", ID: "x"}, dom1, pool.Exclusive))
	wantError(t, "unknown", err, "no node nobody", "set node")
	holders, err := b.Holders(t.Context(), "vm1")
	if err != nil || len(holders) > 0 {
		t.Errorf("holders %v, %v", holders, err)
	}
	r.wantOn(t, "refused", "vm1", "store1, store2", "")
}

func TestCheckHost(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	must(t, b.CheckHost(t.Context(), kvm01), b.Check(t.Context()))
	wantError(t, "unknown", b.CheckHost(t.Context(), pool.Host{Name: "nobody", ID: "x"}), "no node nobody", "linstor node create")
	r.SetOnline("kvm01", false)
	wantError(t, "offline", b.CheckHost(t.Context(), kvm01), "node kvm01 is OFFLINE", "linstor-satellite")
	r.settings.Node = "kvm02"
	must(t, r.open(t).CheckHost(t.Context(), kvm01))
	r.settings.ResourceGroup = "nobody"
	b = r.open(t)
	wantError(t, "group", b.Check(t.Context()), "no resource group nobody", "linstor resource-group create")
	_, err := b.Capacity(t.Context())
	wantError(t, "capacity", err, "no resource group nobody")
	_, err = b.Create(t.Context(), pool.CreateRequest{Name: "vm1", SizeBytes: mib, CreationID: "x"})
	wantError(t, "create", err, "no resource group nobody")
	if list := r.Definitions(); len(list) > 0 {
		t.Errorf("left: %v", list)
	}
}

// What is not of this pool is none of its volumes, and is left alone.
func TestForeignDefinitions(t *testing.T) {
	r := newRig(t, lab.Options{})
	r.AddGroup(lab.Group{Name: "others"})
	must(t, r.AddVolume("others", "vb-foreign", 1024, "store1"), r.AddVolume("vms", "noprefix", 1024, "store1"),
		r.AddVolume("vms", "vb-adopted", 1024, "store1"))
	b := r.open(t)
	list, err := b.List(t.Context())
	must(t, err)
	if len(list) != 1 || list[0].Name != "adopted" || !strings.HasPrefix(list[0].CreationID, "rd:") {
		t.Errorf("listed %+v", list)
	}
	for _, name := range []string{"foreign", "noprefix"} {
		if _, err := b.Lookup(t.Context(), name); !errors.Is(err, pool.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		must(t, b.Delete(t.Context(), name, ""))
	}
	if _, err := b.LookupPath(t.Context(), "/dev/drbd/by-res/noprefix/0"); !errors.Is(err, pool.ErrNotFound) {
		t.Errorf("path: %v", err)
	}
	if err := b.Delete(t.Context(), "adopted", "mine"); !errors.Is(err, pool.ErrNotOurs) {
		t.Errorf("delete: %v", err)
	}
	if got := len(r.Definitions()); got != 3 {
		t.Errorf("%d definitions are left", got)
	}
	grant(t, b, "adopted", kvm01, pool.Exclusive)
	_, err = b.Create(t.Context(), pool.CreateRequest{Name: "foreign", SizeBytes: mib, CreationID: "x"})
	if !errors.Is(err, pool.ErrExists) || !strings.Contains(err.Error(), "vb-foreign") {
		t.Errorf("create: %v", err)
	}
}

// A client that was made for a grant and became a replica since is one to stay.
func TestClientThatBecameAReplica(t *testing.T) {
	r := newRig(t, lab.Options{NoTieBreaker: true})
	r.giveStorage("kvm01")
	b := r.open(t)
	create(t, b, "vm1")
	grant(t, b, "vm1", kvm01, pool.Exclusive)
	must(t, b.linstor.MakeAvailable(t.Context(), "vb-vm1", "kvm01", true))
	revoke(t, b, "vm1", kvm01)
	r.wantOn(t, "revoked", "vm1", "kvm01, store1, store2", "")
}

func TestRemovable(t *testing.T) {
	at := deployment{nodes: []nodeState{{name: "replica"}, {name: "client", diskless: true}, {name: "vote", diskless: true, tieBreaker: true}}}
	for name, want := range map[string]bool{"replica": false, "client": true, "Client": true, "vote": false, "nobody": false} {
		if got := at.removable(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
