package flasharray

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
	"github.com/volbridge/volbridge/pool/flasharray/rest"
)

// operation is one call of the contract, what was before it, what it makes of
// that, and what takes it back.
type operation struct {
	name   string
	before func(context.Context, *backend) error
	do     func(context.Context, *backend) error
	done   string // state after it
	undo   func(context.Context, *backend) error
	undone string // state after undo
}

func operations() []operation {
	newVolume := func(ctx context.Context, b *backend) error {
		_, err := b.Create(ctx, pool.CreateRequest{Name: "vm1", SizeBytes: mib, CreationID: "mine"})
		return err
	}
	remove := func(ctx context.Context, b *backend) error { return b.Delete(ctx, "vm1", "mine") }
	grant := func(h pool.Host, m pool.AccessMode) func(context.Context, *backend) error {
		return func(ctx context.Context, b *backend) error {
			_, err := b.Grant(ctx, request("vm1", h, dom1, m))
			return err
		}
	}
	revoke := func(h pool.Host) func(context.Context, *backend) error {
		return func(ctx context.Context, b *backend) error {
			return b.Revoke(ctx, pool.RevokeRequest{Volume: "vm1", Host: h, BootIDs: []string{"boot-1"}})
		}
	}
	all := func(steps ...func(context.Context, *backend) error) func(context.Context, *backend) error {
		return func(ctx context.Context, b *backend) error {
			for _, step := range steps {
				if err := step(ctx, b); err != nil {
					return err
				}
			}
			return nil
		}
	}
	const free, held = "vm1 1MiB mine", "vm1 1MiB mine kvm01/exclusive"
	return []operation{
		{"create", all(), newVolume, free, remove, ""},
		{"grant", newVolume, grant(kvm01, pool.Exclusive), held, revoke(kvm01), free},
		{"grant again", all(newVolume, grant(kvm01, pool.Exclusive)), grant(kvm01, pool.Exclusive), held, revoke(kvm01), free},
		{"grant in another mode", all(newVolume, grant(kvm01, pool.Handover)), grant(kvm01, pool.Exclusive), held, revoke(kvm01), free},
		{"grant for a handover", all(newVolume, grant(kvm01, pool.Exclusive)), grant(kvm02, pool.Handover),
			"vm1 1MiB mine kvm01/exclusive kvm02/handover", revoke(kvm02), held},
		{"revoke", all(newVolume, grant(kvm01, pool.Exclusive)), revoke(kvm01), free, all(revoke(kvm01), remove), ""},
		{"resize", newVolume, func(ctx context.Context, b *backend) error {
			_, err := b.Resize(ctx, "vm1", 2*mib)
			return err
		}, "vm1 2MiB mine", remove, ""},
		{"delete", newVolume, remove, "", remove, ""},
	}
}

// state is what the array has that is not destroyed, in words. Connections are
// compared with the claims that they belong to.
func (r rig) state(t testing.TB) string {
	t.Helper()
	var lines []string
	for _, v := range r.Volumes() {
		if v.Destroyed {
			continue
		}
		words := []string{v.Name, fmt.Sprint(v.SizeBytes/mib, "MiB"), v.Tags[namespace+"/"+creationKey]}
		var connected []string
		for key, value := range v.Tags {
			notes := map[string]string{strings.TrimPrefix(key, namespace+"/"): value}
			for range claims.Marks(notes) {
				words = append(words, "leaving")
			}
			for _, c := range claims.Read(notes) {
				must(t, c.Damaged)
				words = append(words, c.Holder.Host.Name+"/"+string(c.Holder.Mode))
				connected = append(connected, c.Place.Name)
			}
		}
		slices.Sort(words[3:])
		slices.Sort(connected)
		if r.settings.HostGroup == "" && !slices.Equal(connected, v.Hosts) {
			words = append(words, fmt.Sprintf("connected to %v instead of %v", v.Hosts, connected))
		}
		if r.settings.HostGroup != "" && (len(v.Hosts) > 0 || !slices.Equal(v.Groups, []string{r.settings.HostGroup})) {
			words = append(words, fmt.Sprintf("connected to %v and groups %v", v.Hosts, v.Groups))
		}
		lines = append(lines, strings.Join(words, " "))
	}
	return strings.Join(lines, "; ")
}

// TestFaultAtEachCall: each call of each operation meets each fault, once, or
// for good until the operation has failed. Then the operation is done; or it is
// done once it was repeated; or, taken back, nothing is left of it.
func TestFaultAtEachCall(t *testing.T) {
	for _, group := range []string{"", "group1"} {
		for _, op := range operations() {
			for _, kind := range lab.FaultKinds() {
				for _, lasting := range []bool{false, true} {
					if lasting && (group != "" || !slices.Contains(lastingKinds, kind)) {
						continue
					}
					c := faultCase{op, kind, group, lasting}
					t.Run(c.String(), func(t *testing.T) {
						t.Parallel()
						c.run(t)
					})
				}
			}
		}
	}
}

// lastingKinds are enough where each call is repeated a few times: each repeat
// waits.
var lastingKinds = []lab.FaultKind{lab.LostBefore, lab.LostAfter, lab.Unauthorized, lab.NonsenseAfter}

type faultCase struct {
	operation
	kind    lab.FaultKind
	group   string
	lasting bool
}

func (c faultCase) String() string {
	text := c.name + "/" + string(c.kind)
	if c.group != "" {
		text += "/host group"
	}
	if c.lasting {
		text += "/lasting"
	}
	return text
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
// operation fail, after is called, and the array must have want then.
func (c faultCase) strike(t *testing.T, n int, after func(context.Context, *backend) error, want string) (struck, failed bool) {
	r := newRig(t, lab.Options{})
	r.settings.HostGroup = c.group
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
	if err != nil {
		c.judge(t, what, calls[at:], err)
		r.recover(t, what, after, want)
	} else if got := r.state(t); got != c.done {
		t.Errorf("%s: no error, and the array has %q, want %q", what, got, c.done)
	}
	return true, err != nil
}

// judge looks at an error: it names the array and one of the calls that failed,
// and says what kind of failure it was.
func (c faultCase) judge(t *testing.T, what string, failed []lab.Call, err error) {
	t.Helper()
	text := err.Error()
	named := slices.ContainsFunc(failed, func(k lab.Call) bool {
		return k.Fault != "" && strings.Contains(text, k.Method+" ") && strings.Contains(text, k.Path)
	})
	if !named || !strings.Contains(text, "FlashArray 127.0.0.1:") || !strings.Contains(text, "volume flash/vm1") {
		t.Errorf("%s: the error does not name pool, volume, array and call: %v", what, err)
	}
	// A refusal that was damaged on its way is one of unknown meaning.
	var refusal *rest.Error
	if !errors.Is(err, pool.ErrUnreachable) && !errors.Is(err, rest.ErrUnauthorized) && !(errors.As(err, &refusal) && refusal.Status == http.StatusBadRequest) {
		t.Errorf("%s: the error is of no known kind: %v", what, err)
	}
	for _, wrong := range []error{pool.ErrNotFound, pool.ErrExists, pool.ErrNotOurs, pool.ErrNoSpace} {
		if errors.Is(err, wrong) {
			t.Errorf("%s: says %q: %v", what, wrong, err)
		}
	}
	if strings.Contains(text, lab.TestToken) {
		t.Errorf("%s: the error shows the token", what)
	}
}

// recover repeats the operation or takes it back, in another process.
func (r rig) recover(t *testing.T, what string, after func(context.Context, *backend) error, want string) {
	t.Helper()
	if err := after(t.Context(), r.open(t)); err != nil {
		t.Errorf("%s: afterwards: %v", what, err)
	}
	if got := r.state(t); got != want {
		t.Errorf("%s: in the end the array has %q, want %q", what, got, want)
	}
}
