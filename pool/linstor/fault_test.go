package linstor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	lab "github.com/volbridge/volbridge/lab/linstor"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
	"github.com/volbridge/volbridge/pool/linstor/rest"
)

// operation is one call of the contract, what was before it, what it makes of
// that, and what takes it back.
type operation struct {
	name   string
	before step
	do     step
	done   string // state after it
	undo   step
	undone string // state after undo
}

type step func(context.Context, *backend) error

func all(steps ...step) step {
	return func(ctx context.Context, b *backend) error {
		for _, s := range steps {
			if err := s(ctx, b); err != nil {
				return err
			}
		}
		return nil
	}
}

func granting(h pool.Host, m pool.AccessMode) step {
	return func(ctx context.Context, b *backend) error {
		_, err := b.Grant(ctx, request("vm1", h, dom1, m))
		return err
	}
}

// announcing is for a guest that is to come.
func announcing(h pool.Host) step {
	return func(ctx context.Context, b *backend) error {
		_, err := b.Grant(ctx, announced(h))
		return err
	}
}

func revoking(h pool.Host) step {
	return func(ctx context.Context, b *backend) error {
		return b.Revoke(ctx, pool.RevokeRequest{Volume: "vm1", Host: h, BootIDs: []string{"boot-1"}})
	}
}

func operations() []operation {
	var newVolume, remove, resize step
	newVolume = func(ctx context.Context, b *backend) error {
		_, err := b.Create(ctx, pool.CreateRequest{Name: "vm1", SizeBytes: mib, CreationID: "mine"})
		return err
	}
	remove = func(ctx context.Context, b *backend) error { return b.Delete(ctx, "vm1", "mine") }
	resize = func(ctx context.Context, b *backend) error {
		_, err := b.Resize(ctx, "vm1", 2*mib)
		return err
	}
	const free = "vb-vm1 1MiB mine [store1, store2]"
	const held = "vb-vm1 1MiB mine kvm01/exclusive [kvm01 diskless, store1, store2]"
	const two = "vb-vm1 1MiB mine kvm01/exclusive kvm02/handover [kvm01 diskless, kvm02 diskless, store1, store2] two: resource"
	const coming = "vb-vm1 1MiB mine kvm01/exclusive kvm02/handover [kvm01 diskless, kvm02 diskless, store1, store2]"
	const replica = "vb-vm1 1MiB mine kvm01/exclusive store1/handover [kvm01 diskless, store1, store2] two: kvm01+store1"
	const arrived = "vb-vm1 1MiB mine kvm02/handover [kvm02 diskless, store1, store2]"
	exclusive := granting(kvm01, pool.Exclusive)
	return []operation{
		{"create", all(), newVolume, free, remove, ""},
		{"grant", newVolume, exclusive, held, revoking(kvm01), free},
		{"grant again", all(newVolume, exclusive), exclusive, held, revoking(kvm01), free},
		{"grant in another mode", all(newVolume, granting(kvm01, pool.Handover)), exclusive, held, revoking(kvm01), free},
		{"handover between clients", all(newVolume, exclusive), granting(kvm02, pool.Handover), two, revoking(kvm02), held},
		{"handover to a replica", all(newVolume, exclusive), granting(store, pool.Handover), replica, revoking(store), held},
		{"announced", all(newVolume, exclusive), announcing(kvm02), coming, revoking(kvm02), held},
		{"announced, and comes", all(newVolume, exclusive, announcing(kvm02)), granting(kvm02, pool.Handover), two, revoking(kvm02), held},
		{"announced, and comes to a replica", all(newVolume, exclusive, announcing(store)), granting(store, pool.Handover), replica, revoking(store), held},
		{"arrive", all(newVolume, exclusive, granting(kvm02, pool.Handover)), revoking(kvm01), arrived, revoking(kvm01), arrived},
		{"revoke", all(newVolume, exclusive), revoking(kvm01), free, all(revoking(kvm01), remove), ""},
		{"resize", newVolume, resize, "vb-vm1 2MiB mine [store1, store2]", remove, ""},
		{"delete", newVolume, remove, "", remove, ""},
	}
}

// state is what the controller has, in words.
func (r rig) state(t testing.TB) string {
	t.Helper()
	var lines []string
	for _, d := range r.Definitions() {
		words := []string{d.Name, fmt.Sprint(d.SizeKiB/1024, "MiB")}
		notes := map[string]string{}
		for k, v := range d.Props {
			if key, ours := strings.CutPrefix(k, noteSpace); ours {
				notes[key] = v
			}
		}
		words = append(words, notes[creationNote])
		var holders []string
		for _, c := range claims.Read(notes) {
			must(t, c.Damaged)
			holders = append(holders, c.Holder.Host.Name+"/"+string(c.Holder.Mode))
		}
		slices.Sort(holders)
		words = append(words, holders...)
		words = append(words, "["+strings.Join(d.Resources, ", ")+"]")
		for key := range notes {
			if strings.HasPrefix(key, "leaving.") || strings.HasPrefix(key, unfinishedNote) {
				words = append(words, "with "+key)
			}
		}
		if two := len(d.Set) + len(readPairs(notes)); two > 0 {
			words = append(words, "two: "+strings.Join(d.Set, " "))
		}
		lines = append(lines, strings.Join(words, " "))
	}
	return strings.Join(lines, "; ")
}

// TestFaultAtEachCall: each call of each operation meets each fault, once, or
// from then on until the operation has failed. Then the operation is done; or it
// is done once it was repeated; or, taken back, nothing is left of it.
func TestFaultAtEachCall(t *testing.T) {
	for _, op := range operations() {
		for _, kind := range lab.FaultKinds() {
			for _, lasting := range []bool{false, true} {
				c := faultCase{op, kind, lasting}
				t.Run(c.String(), func(t *testing.T) {
					t.Parallel()
					c.run(t)
				})
			}
		}
	}
}

type faultCase struct {
	operation
	kind    lab.FaultKind
	lasting bool
}

func (c faultCase) String() string {
	if c.lasting {
		return c.name + "/" + string(c.kind) + "/lasting"
	}
	return c.name + "/" + string(c.kind)
}

func (c faultCase) run(t *testing.T) {
	for n := 1; ; n++ {
		struck, failed := c.strike(t, n, c.do, c.done)
		if failed {
			c.strike(t, n, c.undo, c.undone)
		}
		if !struck {
			return
		}
	}
}

// strike lets the n-th call fail, if there is one. Where that makes the
// operation fail, after is called, and the controller must have want then.
func (c faultCase) strike(t *testing.T, n int, after step, want string) (struck, failed bool) {
	r := newRig(t, lab.Options{NoTieBreaker: true})
	must(t, c.before(t.Context(), r.open(t)))
	b := r.open(t)
	r.ForgetCalls()
	fault := lab.Fault{Kind: c.kind, Delay: 5 * time.Millisecond}
	if c.lasting {
		r.FailFrom(n, fault)
	} else {
		r.FailAt(n, fault)
	}
	err := c.do(t.Context(), b)
	calls := r.Calls()
	r.ClearFaults()
	at := slices.IndexFunc(calls, func(k lab.Call) bool { return k.Fault != "" })
	if at < 0 {
		return false, false
	}
	what := fmt.Sprintf("call %d, %s", n, calls[at])
	if err == nil {
		if got := r.state(t); got != c.done {
			t.Errorf("%s: no error, and the controller has %q, want %q", what, got, c.done)
		}
		return true, false
	}
	c.judge(t, what, calls[at:], err)
	again := r.open(t)
	again.now = func() time.Time { return time.Now().Add(time.Minute) } // a mark of the deletion is not one of a command that runs
	if err := after(t.Context(), again); err != nil {
		t.Errorf("%s: afterwards: %v", what, err)
	}
	if got := r.state(t); got != want {
		t.Errorf("%s (%v): in the end the controller has %q, want %q", what, err, got, want)
	}
	return true, true
}

// judge looks at an error: it names pool, volume, controller and one of the
// calls that failed, and says what kind of failure it was.
func (c faultCase) judge(t *testing.T, what string, failed []lab.Call, err error) {
	t.Helper()
	text := err.Error()
	named := slices.ContainsFunc(failed, func(k lab.Call) bool { return k.Fault != "" && strings.Contains(text, k.Method+" "+k.Path) })
	if !named || !strings.Contains(text, "LINSTOR controller http://127.0.0.1:") || !strings.Contains(text, "volume drbd/vm1") {
		t.Errorf("%s: the error does not name pool, volume, controller and call: %v", what, err)
	}
	if !errors.Is(err, pool.ErrUnreachable) && !errors.Is(err, rest.ErrUnauthorized) {
		t.Errorf("%s: the error is of no known kind: %v", what, err)
	}
	for _, wrong := range []error{pool.ErrNotFound, pool.ErrExists, pool.ErrNotOurs, pool.ErrNoSpace, claims.ErrGone} {
		if errors.Is(err, wrong) {
			t.Errorf("%s: says %q: %v", what, wrong, err)
		}
	}
	// Who thinks that nothing was sent may take the old state for true.
	change := failed[0].Method != "GET"
	if change && !c.lasting && errors.Is(err, pool.ErrUnreachable) && !errors.Is(err, pool.ErrMaybeDone) {
		t.Errorf("%s: does not say that it may have taken effect: %v", what, err)
	}
}

// TestSilenceAfterTheClaimIsGone: an error that says that the grant stands comes only
// while it does. Whoever keeps it for a proof would start beside the next holder.
func TestSilenceAfterTheClaimIsGone(t *testing.T) {
	for n := 1; ; n++ {
		r := newRig(t, lab.Options{})
		create(t, r.open(t), "vm1")
		grant(t, r.open(t), "vm1", kvm01, pool.Exclusive)
		b := r.open(t)
		r.FailFrom(n, lab.Fault{Kind: lab.LostBefore})
		err := b.Revoke(t.Context(), pool.RevokeRequest{Volume: "vm1", Host: kvm01})
		r.ClearFaults()
		if err == nil {
			if n < 4 {
				t.Errorf("%d calls", n-1)
			}
			break
		}
		holders, lost := r.open(t).Holders(t.Context(), "vm1")
		must(t, lost)
		if stands := errors.Is(err, pool.ErrUnreachable) && !errors.Is(err, pool.ErrMaybeDone); stands && len(holders) == 0 {
			t.Errorf("from call %d on: %v, but nobody holds it", n, err)
		}
	}
}
