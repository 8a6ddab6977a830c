package drbd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/lab/drbdsim"
	"github.com/volbridge/volbridge/pool"
)

// step is one of a story of a guest, on one host. undo takes back
// what the step may have done, as the contract says: a grant by Revoke, Revoke
// by Revoke.
type step struct {
	name string
	do   func(p *pair) error
	undo func(p *pair) error
	done string // how the hosts are after it
	not  string // and after its undo
}

var story = []step{
	{"start", func(p *pair) error { return p.grant(p.a, hostA, web, pool.Exclusive) },
		func(p *pair) error { return p.revoke(p.a, hostA) }, "Primary/Secondary", "Secondary/Secondary"},
	{"announce", func(p *pair) error { _, err := p.b.Grant(p.ctx, announced(hostB, web)); return err },
		func(p *pair) error { return p.revoke(p.b, hostB) }, "Primary/Secondary", "Primary/Secondary"},
	{"arrive", func(p *pair) error { return p.grant(p.b, hostB, web, pool.Handover) },
		func(p *pair) error { return p.revoke(p.b, hostB) }, "Primary/Primary two", "Primary/Secondary"},
	{"leave", func(p *pair) error { return p.revoke(p.a, hostA) },
		func(p *pair) error { return p.revoke(p.a, hostA) }, "Secondary/Primary", "Secondary/Primary"},
	{"stop", func(p *pair) error { return p.revoke(p.b, hostB) },
		func(p *pair) error { return p.revoke(p.b, hostB) }, "Secondary/Secondary", "Secondary/Secondary"},
}

// before plays the story up to a step.
func (p *pair) before(n int) {
	p.Helper()
	for _, s := range story[:n] {
		p.must(s.do(p))
	}
}

// TestFaults lets each call of a tool fail in each way: afterwards the step
// can be repeated, and it can be taken back. Neither leaves anything.
func TestFaults(t *testing.T) {
	for n, s := range story {
		for _, mode := range []drbdsim.Mode{drbdsim.Fail, drbdsim.FailAfter, drbdsim.Hang, drbdsim.HangAfter, drbdsim.Nonsense} {
			for _, repeat := range []bool{true, false} {
				if mode == drbdsim.Hang && repeat || mode == drbdsim.HangAfter && !repeat {
					continue // as Fail and FailAfter, only later
				}
				t.Run(fmt.Sprintf("%s/%s/repeat %v", s.name, mode, repeat), func(t *testing.T) {
					t.Parallel()
					for at, hit := 1, true; hit; at++ {
						hit = fault(t, n, at, mode, repeat)
					}
				})
			}
		}
	}
}

// fault says whether the step called the tools that often.
func fault(t *testing.T, n, at int, mode drbdsim.Mode, repeat bool) bool {
	t.Helper()
	p, s := newPair(t), story[n]
	p.before(n)
	p.must(p.Arm(at, mode))
	err := p.untilHung(s.do)
	now, stateErr := p.State()
	p.must(stateErr)
	if now.Fault.At != 0 { // it was not reached
		p.must(err)
		p.is(s.done)
		return false
	}
	var held *pool.HeldError
	if errors.As(err, &held) {
		t.Errorf("call %d: it says that nothing was changed: %v", at, err)
	}
	if isHang := mode == drbdsim.Hang || mode == drbdsim.HangAfter; isHang && !errors.Is(err, context.Canceled) {
		t.Errorf("call %d: %v", at, err)
	}
	if repeat {
		p.must(s.do(p))
		p.is(s.done)
		return true
	}
	p.must(s.undo(p))
	p.is(s.not)
	return true
}

// untilHung takes a step whose time is up when a tool hangs in it.
func (p *pair) untilHung(do func(*pair) error) error {
	whole := p.ctx
	defer func() { p.ctx = whole }()
	ctx, up := context.WithCancel(whole)
	p.ctx = ctx
	var watching sync.WaitGroup
	watching.Go(func() {
		if blockdev.WaitPath(ctx, p.Hung()) == nil {
			up()
		}
	})
	err := do(p)
	up()
	watching.Wait()
	return err
}
