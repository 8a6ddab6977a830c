package doctor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/pool"
)

// poolText is a pool and where it is, for people.
func poolText(p config.Pool) string {
	text := fmt.Sprintf("pool %s (%s)", p.Name, p.Type)
	if at, ok := p.Settings.(interface{ Place() string }); ok && at.Place() != "" {
		text = fmt.Sprintf("pool %s (%s, %s)", p.Name, p.Type, at.Place())
	}
	return text
}

// ready returns the backend of a pool that works on this host.
func (e *Env) ready(ctx context.Context, p config.Pool) (pool.Backend, error) {
	defer waiting(ctx, poolText(p))()
	return once(ctx, e, "pool "+p.Name, askTime, func(ctx context.Context) (pool.Backend, error) {
		b, err := e.Open(p.Name)
		if err != nil {
			return nil, err
		}
		return b, pool.Ready(ctx, b, e.Host)
	})
}

// usable asks all pools at once and returns those that work, by name.
func (e *Env) usable(ctx context.Context) (ready map[string]pool.Backend, wrong []error) {
	ready = map[string]pool.Backend{}
	errs := make([]error, len(e.Config.Pools))
	var mu sync.Mutex
	var all sync.WaitGroup
	for i, p := range e.Config.Pools {
		all.Go(func() {
			b, err := e.ready(ctx, p)
			errs[i] = err
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				ready[p.Name] = b
			}
		})
	}
	all.Wait()
	return ready, errs
}

func checkPools(ctx context.Context, e *Env) (out []Finding) {
	if e.HostErr != nil {
		return skip("this host has no name for the storage: see host-id and host-nqn")
	}
	_, errs := e.usable(ctx)
	for i, err := range errs {
		p := e.Config.Pools[i]
		if err != nil && len(e.missing(p)) == 0 {
			out = append(out, e.poolFinding(p, err))
		}
	}
	return out
}

// missing is what checkCredentials reports of a pool.
func (e *Env) missing(p config.Pool) (out []Finding) {
	for _, f := range e.files(p.Settings) {
		out = append(out, e.credential(p.Name, f)...)
	}
	return out
}

func (e *Env) poolFinding(p config.Pool, err error) Finding {
	f := Finding{Level: Fail, Seen: fmt.Sprintf("%s: %s", poolText(p), oneLine(err.Error())),
		Remedy: "the message says what to do; then try it: volbridge pool check " + p.Name}
	if errors.Is(err, pool.ErrNoPool) {
		f.Remedy = "mount the file system of the pool; only for a new pool, whose folder is to be empty, run: volbridge pool init " + p.Name
	}
	if errors.Is(err, context.DeadlineExceeded) {
		f.Remedy = "see that its management is reached from here and works; guests that run go on; then try it: volbridge pool check " + p.Name
	}
	return f
}

// skew is how far clocks may be apart.
const skew = 30 * time.Second

func checkPortals(ctx context.Context, e *Env) (out []Finding) {
	return e.perPool(ctx, func(ctx context.Context, p config.Pool, b pool.Backend) []Finding {
		s, ok := b.(pool.Portaled)
		if !ok {
			return nil
		}
		list, err := s.PortalAddresses(ctx)
		if err != nil {
			return []Finding{e.poolFinding(p, err)}
		}
		return e.dialAll(ctx, p, list)
	})
}

// portalTime is how long a portal may take to answer.
const portalTime = time.Second

func (e *Env) dialAll(ctx context.Context, p config.Pool, list []string) (out []Finding) {
	errs := make([]error, len(list))
	var all sync.WaitGroup
	for i, address := range list {
		all.Go(func() {
			defer waiting(ctx, "portal "+address)()
			// Silence is an answer too, and this check's own.
			ctx, cancel := context.WithTimeoutCause(ctx, portalTime, noAnswerWithin(portalTime))
			defer cancel()
			if errs[i] = e.Dial(ctx, address); errs[i] != nil && ctx.Err() != nil {
				errs[i] = context.Cause(ctx)
			}
		})
	}
	all.Wait()
	dead := 0
	for _, err := range errs {
		if err != nil {
			dead++
		}
	}
	for i, err := range errs {
		if err == nil {
			continue
		}
		f := Finding{Level: Warn, Seen: fmt.Sprintf("%s: portal %s cannot be reached: %s", poolText(p), list[i], oneLine(err.Error())),
			Remedy: "see the way to it (ip route get " + hostOf(list[i]) + "), the switches, the firewall, and the array's interface; a volume still has its other paths"}
		if dead == len(list) {
			f.Level = Fail
			f.Remedy = "see the way to it (ip route get " + hostOf(list[i]) + "), the switches, the firewall, and the array's interface: no volume can be attached"
		}
		out = append(out, f)
	}
	return out
}

// perPool runs f for each pool that works, side by side. That others do not
// work is said by the check pools.
func (e *Env) perPool(ctx context.Context, f func(context.Context, config.Pool, pool.Backend) []Finding) (out []Finding) {
	if e.HostErr != nil {
		return skip("see host-id and host-nqn")
	}
	lists := make([][]Finding, len(e.Config.Pools))
	var all sync.WaitGroup
	for i, p := range e.Config.Pools {
		all.Go(func() {
			if b, err := e.ready(ctx, p); err == nil {
				lists[i] = f(ctx, p, b)
			} else {
				lists[i] = skip(fmt.Sprintf("%s: see pools", poolText(p)))
			}
		})
	}
	all.Wait()
	for _, list := range lists {
		out = append(out, list...)
	}
	return out
}

func checkClock(ctx context.Context, e *Env) []Finding {
	out := e.perPool(ctx, func(ctx context.Context, p config.Pool, b pool.Backend) []Finding {
		m, ok := b.(pool.Managed)
		if !ok {
			return nil
		}
		return e.compareClock(ctx, p, m.Management())
	})
	if f := e.peerClock(ctx); f != nil {
		out = append(out, *f)
	}
	return out
}

const setClock = "see which clock is wrong (timedatectl; chronyc tracking), and let both follow the same time servers"

func (e *Env) compareClock(ctx context.Context, p config.Pool, urls []string) []Finding {
	for _, url := range urls {
		defer waiting(ctx, "the time of "+url)()
		theirs, ours, err := e.ServerTime(ctx, url)
		if err != nil {
			continue // another controller may answer; that none does is said by pools
		}
		if apart := theirs.Sub(ours); apart.Abs() > skew {
			return []Finding{{Level: Warn, Seen: fmt.Sprintf("%s: the clock of %s is %s from this host's: certificates and sessions may be refused, and logs do not fit together",
				poolText(p), url, apart.Round(time.Second)), Remedy: setClock}}
		}
		return nil
	}
	return nil
}

func checkClockSync(_ context.Context, e *Env) []Finding {
	kept, err := e.ClockKept()
	if err != nil {
		return skip(err.Error())
	}
	if kept {
		return nil
	}
	f := Finding{Level: Warn, Seen: "the kernel says that nothing keeps its clock right", Remedy: "let it follow time servers", Commands: []string{e.install("chrony", "chrony")}}
	if e.systemd() && e.anyOf("/usr/lib/systemd/systemd-timesyncd", "/lib/systemd/systemd-timesyncd", "/usr/sbin/chronyd") {
		f.Commands = []string{"timedatectl set-ntp true"}
	}
	return []Finding{f}
}
