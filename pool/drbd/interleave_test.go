package drbd

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/pool"
)

// actor is a host that stops before each call of a tool until it is let go, but
// for those that read what comes right after another call.
type actor struct {
	t    *testing.T
	asks chan struct{} // it stands before a call
	gate *os.File
	done chan error
	err  error // once it has ended
	over bool
}

// watch puts a gate before the tools of a host.
func (p *pair) watch(b *backend, node string) *actor {
	p.Helper()
	dir := filepath.Join(p.Dir, "gate-"+node)
	p.must(os.Mkdir(dir, 0o755))
	var ends [2]*os.File
	for i, name := range []string{"asks", "gate"} {
		path := filepath.Join(dir, name)
		p.must(unix.Mkfifo(path, 0o600))
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		p.must(err)
		p.Cleanup(func() { _ = f.Close() })
		ends[i] = f
	}
	for _, tool := range []string{"drbdadm", "drbdsetup"} {
		script := fmt.Sprintf("#!/bin/sh\ncase $1 in dump-xml|events2) ;; *) echo >%[1]s/asks; read go <%[1]s/gate;; esac\nexec %[2]s/%[3]s \"$@\"\n",
			dir, p.Tools(node), tool)
		p.must(os.WriteFile(filepath.Join(dir, tool), []byte(script), 0o755))
	}
	b.tools.Folder, b.tools.Timeout = dir, 10*time.Minute // a tool waits for its turn
	a := &actor{t: p.T, asks: make(chan struct{}), gate: ends[1], done: make(chan error, 1)}
	go func() {
		lines := bufio.NewScanner(ends[0])
		for lines.Scan() {
			a.asks <- struct{}{}
		}
		close(a.asks)
	}()
	return a
}

// begin starts the work and returns when it stands before its first call.
func (a *actor) begin(do func() error) {
	go func() { a.done <- do() }()
	a.wait()
}

func (a *actor) wait() {
	select {
	case <-a.asks:
	case a.err = <-a.done:
		a.over = true
	}
}

// calls lets up to n calls happen, all if n is negative.
func (a *actor) calls(n int) {
	a.t.Helper()
	for ; n != 0 && !a.over; n-- {
		if _, err := a.gate.WriteString("\n"); err != nil {
			a.t.Fatal(err)
		}
		a.wait()
	}
}

// race is what two hosts do at once.
type race struct {
	name   string
	before func(p *pair) error
	a, b   func(p *pair) error
	// both may succeed.
	both bool
	// same: it is of no matter who of them is first.
	same bool
}

var races = []race{
	{name: "start, start", before: nothing, same: true,
		a: func(p *pair) error { return p.grant(p.a, hostA, web, pool.Exclusive) },
		b: func(p *pair) error { return p.grant(p.b, hostB, web, pool.Exclusive) }},
	{name: "start, share", before: nothing,
		a: func(p *pair) error { return p.grant(p.a, hostA, web, pool.Exclusive) },
		b: func(p *pair) error { return p.grant(p.b, hostB, db, pool.Multi) }},
	{name: "share, share", before: nothing, both: true, same: true,
		a: func(p *pair) error { return p.grant(p.a, hostA, web, pool.Multi) },
		b: func(p *pair) error { return p.grant(p.b, hostB, db, pool.Multi) }},
	{name: "leave, arrive", before: func(p *pair) error { return p.grant(p.a, hostA, web, pool.Exclusive) }, both: true,
		a: func(p *pair) error { return p.revoke(p.a, hostA) },
		b: func(p *pair) error { return p.grant(p.b, hostB, web, pool.Handover) }},
	{name: "leave, announce", before: func(p *pair) error { return p.grant(p.a, hostA, web, pool.Exclusive) }, both: true,
		a: func(p *pair) error { return p.revoke(p.a, hostA) },
		b: func(p *pair) error { _, err := p.b.Grant(p.ctx, announced(hostB, web)); return err }},
	{name: "leave, leave", both: true, same: true, before: func(p *pair) error {
		return errors.Join(p.grant(p.a, hostA, web, pool.Exclusive), p.grant(p.b, hostB, web, pool.Handover))
	},
		a: func(p *pair) error { return p.revoke(p.a, hostA) },
		b: func(p *pair) error { return p.revoke(p.b, hostB) }},
	{name: "unshare, unshare", both: true, same: true, before: func(p *pair) error {
		return errors.Join(p.grant(p.a, hostA, web, pool.Multi), p.grant(p.b, hostB, db, pool.Multi))
	},
		a: func(p *pair) error { return p.revoke(p.a, hostA) },
		b: func(p *pair) error { return p.revoke(p.b, hostB) }},
	{name: "tidy, arrive", before: func(p *pair) error { return p.grant(p.a, hostA, web, pool.Exclusive) }, both: true,
		a: func(p *pair) error { _, err := p.a.Tidy(p.ctx, false); return err },
		b: func(p *pair) error { return p.grant(p.b, hostB, web, pool.Handover) }},
}

func nothing(*pair) error { return nil }

// TestInterleaved: one host makes some calls, then the other one some, then the
// first goes on to its end and then the other.
func TestInterleaved(t *testing.T) {
	for _, r := range races {
		for _, swap := range []bool{false, true} {
			if swap && r.same {
				continue
			}
			t.Run(fmt.Sprintf("%s/%v", r.name, swap), func(t *testing.T) {
				t.Parallel()
				for i, more := 1, true; more; i++ {
					for j, within := 1, true; within && more; j++ {
						more, within = r.run(t, swap, i, j)
					}
				}
			})
		}
	}
}

// run says whether the first host made more than i calls, and the other more
// than j.
func (r race) run(t *testing.T, swap bool, i, j int) (more, within bool) {
	t.Helper()
	p := newPair(t)
	p.must(r.before(p))
	a, b := p.watch(p.a, "kvm01"), p.watch(p.b, "kvm02")
	a.begin(func() error { return r.a(p) })
	b.begin(func() error { return r.b(p) })
	one, two := a, b
	if swap {
		one, two = b, a
	}
	one.calls(i)
	more = !one.over
	two.calls(j)
	within = !two.over
	one.calls(-1)
	two.calls(-1)
	p.a.tools.Folder, p.b.tools.Folder = p.Tools("kvm01"), p.Tools("kvm02")
	if a.err == nil && b.err == nil && !r.both {
		t.Errorf("%d, %d calls: both", i, j)
	}
	var held *pool.HeldError
	for _, one := range []struct {
		err  error
		b    *backend
		host pool.Host
	}{{a.err, p.a, hostA}, {b.err, p.b, hostB}} {
		if !errors.As(one.err, &held) {
			continue
		}
		if all, err := one.b.HeldBy(t.Context(), one.host.ID); len(all) > 0 || err != nil {
			t.Errorf("%d, %d calls: refused, and it has %v, %v", i, j, all, err)
		}
	}
	if t.Failed() {
		s, _ := p.State()
		t.Logf("%v\n%v\n%q", a.err, b.err, s.Calls)
	}
	// Whatever came of it can be taken back, and leaves nothing.
	p.must(errors.Join(p.revoke(p.a, hostA), p.revoke(p.b, hostB)))
	p.is("Secondary/Secondary")
	if t.Failed() {
		t.FailNow()
	}
	return more, within
}
