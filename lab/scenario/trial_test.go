package scenario

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/linstor"
)

// `pool test --volume` makes a volume in each kind of pool, and uses it as a guest
// would: over the played NVMe, over the played DRBD, with a replica on the host
// and without, and as a loop device. Nothing of it stays.
func TestTrialOfEachPool(t *testing.T) {
	c := upWithLINSTOR(t, "kvm01")
	for _, h := range c.lab.Hosts() {
		for pool, device := range map[string]string{"fast": "/dev/volbridge/fast/", "exact": "/dev/volbridge/exact/", "flash": "/dev/disk/by-id/nvme-eui.", "drbd": "/dev/drbd/by-res/"} {
			c.wants(c.on(h, "volbridge", "pool", "test", pool, "--volume"), "pool "+pool+" works on this host", "attached as "+device, "read back, and deleted")
			c.wants(c.on(h, "volbridge", "--output", "json", "pool", "check", pool, "--volume"), `"path": "`+device)
			c.noTrial()
			if left := c.flash.Volumes(); len(left) > 0 {
				t.Errorf("the array has not eradicated %+v", left)
			}
		}
	}
}

// noTrial fails if a trial has left anything anywhere. A volume that is destroyed
// goes when the array's time for it is over; that it goes at once is asked for
// only once.
func (c *linstorCluster) noTrial() {
	c.Helper()
	for _, v := range c.flash.Volumes() {
		if !v.Destroyed {
			c.Errorf("the array still has %+v", v)
		}
	}
	c.volumesAre()
	c.gone()
}

// storage is what plays the storage of a pool, and spoils its calls.
type storage struct {
	pool   string
	calls  func() int // since the beginning of a trial
	forget func()
	// failAt spoils the n-th call, failFrom all from then on.
	failAt   map[string]func(n int)
	failFrom func(n int)
	hang     func(n int)
	clear    func()
}

func (c *linstorCluster) storages() map[string]storage {
	return map[string]storage{
		"FlashArray": {
			pool: "flash", calls: func() int { return len(c.flash.Calls()) }, forget: c.flash.ForgetCalls, clear: c.flash.ClearFaults,
			failAt: map[string]func(int){
				"not done":   func(n int) { c.flash.FailAt(n, flasharray.Fault{Kind: flasharray.ServerError}) },
				"done, lost": func(n int) { c.flash.FailAt(n, flasharray.Fault{Kind: flasharray.LostAfter}) },
			},
			failFrom: func(n int) { c.flash.FailFrom(n, flasharray.Fault{Kind: flasharray.LostBefore}) },
			hang:     func(n int) { c.flash.FailAt(n, flasharray.Fault{Kind: flasharray.Slow, Delay: time.Hour}) },
		},
		"LINSTOR": {
			pool: "drbd", calls: func() int { return len(c.drbd.Calls()) }, forget: c.drbd.ForgetCalls, clear: c.drbd.ClearFaults,
			failAt: map[string]func(int){
				"not done":   func(n int) { c.drbd.FailAt(n, linstor.Fault{Kind: linstor.ServerError}) },
				"done, lost": func(n int) { c.drbd.FailAt(n, linstor.Fault{Kind: linstor.LostAfter}) },
			},
			failFrom: func(n int) { c.drbd.FailFrom(n, linstor.Fault{Kind: linstor.LostBefore}) },
			hang:     func(n int) { c.drbd.FailAt(n, linstor.Fault{Kind: linstor.Slow, Delay: time.Hour}) },
		},
	}
}

// Whatever call of the storage fails, before or after it took effect, once or from
// then on, nothing is left; or the trial says so, and recover removes it.
func TestTrialFails(t *testing.T) {
	for _, name := range []string{"FlashArray", "LINSTOR"} {
		for _, how := range []string{"not done", "done, lost", "silent from then on"} {
			t.Run(name+", "+how, func(t *testing.T) {
				c := upWithLINSTOR(t, "kvm01")
				s := c.storages()[name]
				fail := s.failAt[how]
				if fail == nil {
					fail = s.failFrom
				}
				failed := 0
				for n := range c.trialCalls(s) {
					fail(n + 1)
					out, code := c.exit(c.a, "volbridge", "pool", "test", s.pool, "--volume")
					s.clear()
					c.afterTrial(fmt.Sprintf("call %d", n+1), out, code)
					if code != 0 {
						failed++
					}
				}
				// A single reply that is lost may be made up for.
				if t.Logf("%d trials failed", failed); failed == 0 && how != "done, lost" {
					t.Error("no trial failed")
				}
			})
		}
	}
}

// trialCalls is how many calls a trial makes that succeeds.
func (c *linstorCluster) trialCalls(s storage) int {
	c.Helper()
	c.on(c.a, "volbridge", "pool", "check", s.pool) // logs in
	s.forget()
	c.on(c.a, "volbridge", "pool", "test", s.pool, "--volume")
	calls := s.calls()
	c.noTrial()
	if calls < 5 {
		c.Fatalf("a trial makes %d calls", calls)
	}
	c.Logf("a trial makes %d calls", calls)
	return calls
}

// afterTrial fails unless a trial that failed cleaned up, or said that it could
// not and recover does.
func (c *linstorCluster) afterTrial(when, out string, code int) {
	c.Helper()
	const left = 6 // the exit code
	switch code {
	case 0, 1, 3, 4:
	case left:
		c.wants(out, "run 'volbridge recover'", "volbridge-test-")
		c.recover(c.a)
	default:
		c.Errorf("%s: the trial ended with %d", when, code)
	}
	if c.noTrial(); c.Failed() {
		c.Fatalf("%s: the trial ended with %d: %s", when, code, out)
	}
}

// A trial that is killed while the storage works at one of its calls leaves what
// recover removes.
func TestTrialKilled(t *testing.T) {
	for _, name := range []string{"FlashArray", "LINSTOR"} {
		t.Run(name, func(t *testing.T) {
			c := upWithLINSTOR(t, "kvm01")
			s := c.storages()[name]
			for n := range c.trialCalls(s) {
				s.hang(n + 1)
				s.forget()
				cmd := c.a.Command(c.ctx, "volbridge", "pool", "test", s.pool, "--volume")
				var said strings.Builder
				cmd.Stdout, cmd.Stderr = &said, &said
				c.must(cmd.Start())
				for s.calls() <= n {
					c.must(c.ctx.Err())
					runtime.Gosched()
				}
				c.must(cmd.Process.Kill())
				_ = cmd.Wait()
				s.clear()
				c.recover(c.a)
				if c.noTrial(); t.Failed() {
					t.Fatalf("killed at call %d: %s", n+1, &said)
				}
			}
		})
	}
}
