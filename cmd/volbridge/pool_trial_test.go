package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/pool"
)

// stepped are drivers of whose folders each call that changes something, or that
// a device depends on, is a step, before it and after it.
func stepped(list []pool.Driver, step func(name string) error) []pool.Driver {
	var out []pool.Driver
	for _, d := range list {
		open := d.Open
		d.Open = func(name string, settings any, log *logrus.Entry) (pool.Backend, error) {
			b, err := open(name, settings, log)
			if f, ok := b.(folderPool); ok && err == nil {
				return &steppedPool{f, step}, nil
			}
			return b, err
		}
		out = append(out, d)
	}
	return out
}

// folderPool is what a pool in a folder can do.
type folderPool interface {
	pool.Backend
	pool.Provisioner
	pool.CapacityReporter
	pool.Rounder
	pool.Checker
	pool.Initialiser
}

type steppedPool struct {
	folderPool
	step func(name string) error
}

func around[T any](p *steppedPool, name string, do func() (T, error)) (T, error) {
	var zero T
	if err := p.step("before " + name); err != nil {
		return zero, err
	}
	v, err := do()
	if failed := p.step("after " + name); failed != nil {
		return zero, errors.Join(failed, err)
	}
	return v, err
}

func (p *steppedPool) Create(ctx context.Context, r pool.CreateRequest) (pool.Volume, error) {
	return around(p, "create", func() (pool.Volume, error) { return p.folderPool.Create(ctx, r) })
}

func (p *steppedPool) Grant(ctx context.Context, r pool.GrantRequest) (pool.Connection, error) {
	return around(p, "grant", func() (pool.Connection, error) { return p.folderPool.Grant(ctx, r) })
}

func (p *steppedPool) Revoke(ctx context.Context, r pool.RevokeRequest) error {
	_, err := around(p, "revoke", func() (struct{}, error) { return struct{}{}, p.folderPool.Revoke(ctx, r) })
	return err
}

func (p *steppedPool) Delete(ctx context.Context, name, creationID string) error {
	_, err := around(p, "delete", func() (struct{}, error) { return struct{}{}, p.folderPool.Delete(ctx, name, creationID) })
	return err
}

// trialApp is a program with a pool of a name of its own, because the links of
// its devices are in the real /dev.
func trialApp(t *testing.T) *testApp {
	t.Helper()
	testenv.NeedRoot(t)
	return newTestApp(t, fmt.Sprintf("trial%d", os.Getpid()))
}

// untouched fails if the trial has left anything.
func (ta *testApp) untouched(t *testing.T) {
	t.Helper()
	if out := ta.must(t, "volume", "list", ta.pool, "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("the pool has volumes: %s", out)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(ta.disk(t, "x")), "..", ".creating-*")); err != nil || len(left) > 0 {
		t.Errorf("the folder has %v, %v", left, err)
	}
	ta.nothingLeft(t)
}

// A new volume is made, attached, written, read and deleted, and nothing is left.
func TestPoolTrial(t *testing.T) {
	ta := trialApp(t)
	out := ta.must(t, "pool", "test", ta.pool, "--volume")
	if !strings.Contains(out, "pool "+ta.pool+" works on this host: volume volbridge-test-") || !strings.Contains(out, "/dev/volbridge/"+ta.pool+"/") {
		t.Errorf("it says %s", out)
	}
	ta.untouched(t)
	if out := ta.must(t, "pool", "check", ta.pool, "--volume", "-o", "json"); !strings.Contains(out, `"attach_seconds"`) {
		t.Errorf("it says %s", out)
	}
	ta.untouched(t)
	if _, err := ta.try(t, "pool", "test", "--volume"); exitCode(t.Context(), err) != exitUsage {
		t.Errorf("without a pool: %v", err)
	}
}

// Whatever call of the pool fails, before or after it took effect, nothing is
// left, or it is said, and recover removes it.
func TestPoolTrialFails(t *testing.T) {
	broken := errors.New("broken")
	for _, forGood := range []bool{false, true} {
		seen := map[string]bool{}
		for n := 0; ; n++ {
			ta := trialApp(t)
			left, failed := n, ""
			ta.drivers = stepped(ta.drivers, func(name string) error {
				if left--; left == -1 || left < 0 && forGood {
					if failed == "" {
						failed = name
					}
					return fmt.Errorf("%s: %w", name, broken)
				}
				return nil
			})
			_, err := ta.try(t, "pool", "test", ta.pool, "--volume")
			left = 1 << 30
			if failed == "" {
				if err != nil {
					t.Errorf("without a fault: %v", err)
				}
				ta.untouched(t)
				break
			}
			seen[failed] = true
			ta.seesLeftovers(t, fmt.Sprintf("%s, for good %v", failed, forGood), err, broken)
		}
		for _, step := range []string{"before create", "after create", "before grant", "after grant", "before revoke", "after revoke", "before delete", "after delete"} {
			if !seen[step] {
				t.Errorf("nothing failed %s: %v", step, seen)
			}
		}
	}
}

// seesLeftovers fails unless the error says what happened and either nothing is
// left or recover takes it back.
func (ta *testApp) seesLeftovers(t *testing.T, when string, err, cause error) {
	t.Helper()
	if !errors.Is(err, cause) || !strings.Contains(fmt.Sprint(err), ta.pool+"/volbridge-test-") {
		t.Errorf("%s: the error is %v", when, err)
	}
	if exitCode(t.Context(), err) == exitLeft {
		if !strings.Contains(err.Error(), "run 'volbridge recover'") {
			t.Errorf("%s: the error does not say what to do: %v", when, err)
		}
		ta.must(t, "recover", "--connect", "test:///default")
	}
	ta.untouched(t)
	if t.Failed() {
		t.Fatalf("%s: %v", when, err)
	}
}

// A trial that is killed at any of its calls leaves what recover removes.
func TestPoolTrialKilled(t *testing.T) {
	seen := 0
	for n := 0; ; n++ {
		ta := trialApp(t)
		p := &power{T: t}
		p.link()
		step, said := p.until(n, "", "pool", "test", ta.pool, "--volume")
		if step == "" {
			if !strings.Contains(said, "works on this host") {
				t.Errorf("it says %s", said)
			}
			ta.untouched(t)
			break
		}
		seen++
		ta.must(t, "recover", "--connect", "test:///default")
		ta.untouched(t)
		if t.Failed() {
			t.Fatalf("killed %s", step)
		}
	}
	if seen < 8 {
		t.Errorf("it was killed at %d steps only", seen)
	}
}
