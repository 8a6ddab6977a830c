package flasharray

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/volbridge/volbridge/blockdev"
	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
)

func grant(t testing.TB, b *backend, volume string, h pool.Host, m pool.AccessMode) pool.Connection {
	t.Helper()
	c, err := b.Grant(t.Context(), request(volume, h, dom1, m))
	must(t, err)
	return c
}

func revoke(t testing.TB, b *backend, volume string, h pool.Host) {
	t.Helper()
	must(t, b.Revoke(t.Context(), pool.RevokeRequest{Volume: volume, Host: h}))
}

func wantConnections(t testing.TB, r rig, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, r.Connections()); diff != "" {
		t.Errorf("connections (-want +got):\n%s", diff)
	}
}

func TestConnectionSaysHowToGetThere(t *testing.T) {
	for _, c := range []struct {
		version string
		nsid    uint32
	}{{"2.26", 0}, {"2.27", 1}} {
		r := newRig(t, lab.Options{Version: c.version})
		r.settings.CtrlLossTimeout, r.settings.FastIOFailTimeout = never, 0
		b := r.open(t)
		v := create(t, b, "vm1")
		nguid := serialOf(t, r, "vm1").NGUID()
		want := pool.Connection{
			Protocol: blockdev.NVMeTCP, Pool: "flash", Volume: "vm1", Identity: blockdev.Identity(nguid), SizeBytes: mib,
			HostID: kvm01.ID, Path: "/dev/disk/by-id/nvme-eui." + nguid,
			NVMe: &blockdev.NVMeTarget{
				SubsystemNQN: "nqn.2010-06.com.purestorage:flasharray.flash1", HostNQN: kvm01.NQN, NSID: c.nsid, CtrlLossTimeout: -1,
				Portals: []blockdev.Portal{{Address: "192.0.2.1", Port: 4420}, {Address: "192.0.2.2", Port: 4420}},
			},
		}
		if diff := cmp.Diff(want, grant(t, b, v.Name, kvm01, pool.Exclusive)); diff != "" {
			t.Errorf("REST %s (-want +got):\n%s", c.version, diff)
		}
	}
}

// A connection that an administrator made is neither made nor ended, and its
// device stays.
func TestConnectionOfAnAdministratorStays(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	create(t, b, "vm1")
	r.connect(t, "vm1", "kvm01")
	for range 2 {
		if c := grant(t, r.open(t), "vm1", kvm01, pool.Exclusive); !c.Lasting {
			t.Error("the device is not said to stay")
		}
	}
	c, err := r.open(t).Connection(t.Context(), "vm1", kvm01)
	if err != nil || !c.Lasting {
		t.Errorf("another process is told %+v, %v", c, err)
	}
	revoke(t, r.open(t), "vm1", kvm01)
	wantConnections(t, r, "vm1 kvm01")
	if holders, err := b.Holders(t.Context(), "vm1"); err != nil || len(holders) != 0 {
		t.Errorf("held by %v, %v", holders, err)
	}
}

// connect is what an administrator does.
func (r rig) connect(t testing.TB, volume, host string) {
	t.Helper()
	v, ok := r.Volume(volume)
	if !ok {
		t.Fatalf("no volume %s", volume)
	}
	_, _, err := r.open(t).array.connect(t.Context(), way{host: host}, asVolume(v))
	must(t, err)
}

func asVolume(v lab.Volume) volume {
	return volume{ID: v.ID, ArrayName: v.Name, Serial: Serial(v.Serial), SizeBytes: v.SizeBytes, name: v.Name, connections: unknown}
}

func TestHostGroupStaysConnected(t *testing.T) {
	r := newRig(t, lab.Options{})
	r.settings.HostGroup = "group1"
	b := r.open(t)
	create(t, b, "vm1")
	wantConnections(t, r, "vm1 @group1")
	if c := grant(t, b, "vm1", kvm01, pool.Exclusive); !c.Lasting {
		t.Error("the device is not said to stay")
	}
	var held *pool.HeldError
	if _, err := b.Grant(t.Context(), request("vm1", kvm02, dom1, pool.Exclusive)); !errors.As(err, &held) {
		t.Errorf("a second host: %v", err)
	}
	revoke(t, b, "vm1", kvm01)
	wantConnections(t, r, "vm1 @group1")
	r.AddVolumes("theirs", 1, mib) // made without volbridge
	grant(t, b, "theirs1", kvm01, pool.Exclusive)
	wantConnections(t, r, "theirs1 @group1", "vm1 @group1")
	r.AddHost("stranger", testHost("", "9").NQN)
	_, err := b.Grant(t.Context(), request("vm1", testHost("stranger", "9"), dom1, pool.Exclusive))
	wantError(t, "a host that is no member", err, "stranger", "not in the host group group1", "add it there")
	must(t, b.Delete(t.Context(), "vm1", "mine"))
	wantConnections(t, r, "theirs1 @group1")
}

func TestHostIsFoundByItsNQN(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	create(t, b, "vm1")
	host := pool.Host{Name: "kvm02", ID: "id-9", NQN: "nqn.2014-08.org.nvmexpress:uuid:new"}
	_, err := b.Grant(t.Context(), request("vm1", host, dom1, pool.Exclusive))
	wantError(t, "a host that the array does not know", err, host.NQN, "create_host = true")
	_, err = b.Grant(t.Context(), request("vm1", pool.Host{Name: "kvm09", ID: "id-9"}, dom1, pool.Exclusive))
	wantError(t, "a host without a name of its own", err, "kvm09", "/etc/nvme/hostnqn")
	r.settings.CreateHost = true
	b = r.open(t)
	_, err = b.Grant(t.Context(), request("vm1", host, dom1, pool.Exclusive))
	wantError(t, "a name that another host has", err, "has a host kvm02 already", host.NQN)
	wantConnections(t, r)
	host.Name = "kvm_09.example.org"
	_, err = b.Grant(t.Context(), request("vm1", host, dom1, pool.Exclusive))
	must(t, err)
	wantConnections(t, r, "vm1 kvm-09-example-org")
}

func TestHostNames(t *testing.T) {
	for name, want := range map[string]string{
		"kvm01": "kvm01", "kvm_01.example.org": "kvm-01-example-org", "42": "host-42", "...": "host", "-a-": "a",
		strings.Repeat("x", 80): strings.Repeat("x", 63), strings.Repeat("x", 62) + ".y": strings.Repeat("x", 62),
		strings.Repeat("1", 70): "host-" + strings.Repeat("1", 58), "größe": "gr----e",
	} {
		got := hostName(name)
		if got != want || checkName(got) != nil {
			t.Errorf("%q became %q, want %q", name, got, want)
		}
	}
}

func claimsOf(t testing.TB, b *backend, id string) []claims.Claim {
	t.Helper()
	tags, err := b.array.tags(t.Context(), id)
	must(t, err)
	return claimsIn(tags)
}

// putClaim writes a claim, whoever else has one.
func putClaim(t testing.TB, b *backend, id string, c claims.Claim) {
	t.Helper()
	value, err := c.Value(maxValue)
	must(t, err)
	must(t, b.array.putTags(t.Context(), id, newTag(c.Key, value)))
}

// mark says that the volume is being deleted.
func mark(t testing.TB, b *backend, v volume) {
	t.Helper()
	_, err := b.ledger(v).Mark(t.Context())
	must(t, err)
}

func TestNoRoomForATag(t *testing.T) {
	r := newRig(t, lab.Options{TagLimit: 2})
	b := r.open(t)
	create(t, b, "vm1")
	grant(t, b, "vm1", kvm01, pool.Exclusive)
	_, err := b.Grant(t.Context(), request("vm1", kvm02, dom1, pool.Handover))
	wantError(t, "a second holder", err, "no room for another tag", "Tag limit reached")
	if holders, err := b.Holders(t.Context(), "vm1"); err != nil || len(holders) != 1 {
		t.Errorf("held by %v, %v", holders, err)
	}
}

func TestDamagedClaimIsAHolderOfUnknownName(t *testing.T) {
	for name, value := range map[string]string{
		"empty": "", "newer": "9 exclusive 0 a b c - d e", "cut": "1 exclusive 17000", "mode": "1 rw 1700000000 id boot uuid - kvm09 web",
		"host": "1 exclusive 1700000000 id-of-another boot uuid - kvm09 web",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, lab.Options{})
			b := r.open(t)
			create(t, b, "vm1")
			v, _ := r.Volume("vm1")
			key := claims.NewKey(kvm02.ID, time.Now())
			must(t, b.array.putTags(t.Context(), v.ID, newTag(key, value)))
			_, grant := b.Grant(t.Context(), request("vm1", kvm01, dom1, pool.Exclusive))
			_, holders := b.Holders(t.Context(), "vm1")
			byBoot := b.Revoke(t.Context(), pool.RevokeRequest{Volume: "vm1", Host: kvm02, BootIDs: []string{"boot-1"}})
			for what, err := range map[string]error{"Grant": grant, "Holders": holders, "Delete": b.Delete(t.Context(), "vm1", ""), "Revoke": byBoot} {
				wantError(t, what, err, "a host of unknown name may hold the volume", key)
			}
			var held *pool.HeldError
			if errors.As(grant, &held) {
				t.Errorf("Grant: %v names holders", grant)
			}
			if got := claimsOf(t, b, v.ID); len(got) != 1 || got[0].Key != key {
				t.Errorf("claims %+v", got)
			}
			revoke(t, b, "vm1", kvm02) // of whatever boot: by the key it is that host's
			must(t, b.Delete(t.Context(), "vm1", "mine"))
		})
	}
}

// Two claims of one grant, as a crash leaves them.
func TestClaimsThatACrashLeft(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	create(t, b, "vm1")
	grant(t, b, "vm1", kvm01, pool.Handover)
	v, _ := r.Volume("vm1")
	late := claimsOf(t, b, v.ID)[0]
	late.Key, late.Holder.Mode = claims.NewKey(kvm01.ID, time.Now()), pool.Exclusive
	putClaim(t, b, v.ID, late)
	holders, err := b.Holders(t.Context(), "vm1")
	if err != nil || len(holders) != 1 || holders[0].Mode != pool.Exclusive {
		t.Errorf("holders %+v, %v", holders, err)
	}
	grant(t, b, "vm1", kvm01, pool.Exclusive)
	if got := claimsOf(t, b, v.ID); len(got) != 1 {
		t.Errorf("claims %+v", got)
	}
	revoke(t, b, "vm1", kvm01)
	wantConnections(t, r)
}

// Of hosts that ask at once one wins, and the others leave nothing.
func TestGrantsAtOnce(t *testing.T) {
	r := newRig(t, lab.Options{Latency: time.Millisecond})
	create(t, r.open(t), "vm1")
	for round := range 5 {
		const rivals = 6
		var all sync.WaitGroup
		errs := make([]error, rivals)
		begin := make(chan struct{})
		for i := range errs {
			b := r.open(t)
			h := pool.Host{Name: fmt.Sprintf("racer%02d", i), ID: fmt.Sprint("id-", i),
				NQN: fmt.Sprintf("nqn.2014-08.org.nvmexpress:uuid:6a0d6f0e-0000-4000-8000-1000000000%02d", i)}
			all.Go(func() {
				<-begin
				_, errs[i] = b.Grant(t.Context(), request("vm1", h, dom1, pool.Exclusive))
			})
		}
		close(begin)
		all.Wait()
		lost := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
		for _, err := range lost {
			var held *pool.HeldError
			if !errors.As(err, &held) {
				t.Errorf("round %d: %v", round, err)
			}
		}
		holders, err := r.open(t).Holders(t.Context(), "vm1")
		if err != nil || len(lost) != rivals-1 || len(holders) != 1 {
			t.Fatalf("round %d: %d lost, holders %v, %v", round, len(lost), holders, err)
		}
		revoke(t, r.open(t), "vm1", pool.Host{Name: holders[0].Host.Name, ID: holders[0].Host.ID})
		wantConnections(t, r)
	}
}

func TestHeldBy(t *testing.T) {
	r := newRig(t, lab.Options{})
	b := r.open(t)
	for _, name := range []string{"b", "a", "c"} {
		create(t, b, name)
	}
	grant(t, b, "b", kvm01, pool.Exclusive)
	grant(t, b, "a", kvm01, pool.Exclusive)
	grant(t, b, "a", kvm02, pool.Handover)
	r.settings.Pod = "pod1"
	inPod := r.open(t)
	create(t, inPod, "p")
	grant(t, inPod, "p", kvm01, pool.Exclusive)
	for _, c := range []struct {
		b    *backend
		host pool.Host
		want string
	}{{b, kvm01, "a b"}, {b, kvm02, "a"}, {b, testHost("x", "8"), ""}, {inPod, kvm01, "p"}} {
		held, err := c.b.HeldBy(t.Context(), c.host.ID)
		must(t, err)
		var names []string
		for _, h := range held {
			names = append(names, h.Volume)
			if h.Holder.Host.ID != c.host.ID || h.Holder.Owner != dom1 {
				t.Errorf("holder %+v", h.Holder)
			}
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s holds %q, want %q", c.host.Name, got, c.want)
		}
	}
}

// An array that connects volumes by name alone might connect another one, to
// which the name was given: it is refused before anything is asked of it.
func TestArrayThatConnectsByNameIsRefused(t *testing.T) {
	r := newRig(t, lab.Options{Version: "2.8"})
	r.AddVolumes("vm", 1, mib)
	_, err := r.open(t).Grant(t.Context(), request("vm1", kvm01, dom1, pool.Exclusive))
	wantError(t, "REST 2.8", err, "it speaks REST", "needs one of 2.9", "upgrade Purity//FA")
	wantConnections(t, r)
}
