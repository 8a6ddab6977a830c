package migrate

import (
	"context"
	"fmt"
	"time"
)

// Place says where the guest of a migration is.
type Place int

const (
	// Unclear: it cannot be known, or runs nowhere. Nothing may be undone.
	Unclear Place = iota
	// AtSource: it runs on the source, and cannot run on the destination.
	AtSource
	// AtDestination: it runs on the destination and not on the source.
	AtDestination
	// InFlight: libvirt is still moving it, or cleaning up.
	InFlight
)

func (p Place) String() string {
	return [...]string{"unclear", "on the source", "on the destination", "under way"}[p]
}

// sight is what one daemon said, or why it said nothing.
type sight struct {
	w   Whereabouts
	err error
}

func look(ctx context.Context, h Hypervisor, connectErr error, uuid string) sight {
	if h == nil {
		return sight{err: connectErr}
	}
	w, err := h.Where(ctx, uuid)
	return sight{w: w, err: err}
}

// judge decides from what both daemons said. A guest that runs on the source
// without a migration job has not left it, whatever the destination says or
// cannot say: to arrive, it would have had to stop here first. The reverse
// needs both: a source that does not answer may still run it.
func judge(src, dst sight) (Place, string) {
	switch {
	case src.err == nil && src.w.Runs() && dst.err == nil && dst.w.Runs():
		return Unclear, "it runs on both hosts"
	case src.err == nil && src.w.Active && src.w.Job != "":
		return InFlight, "the source has a job: " + src.w.Job
	case src.err == nil && src.w.Active && src.w.Switching:
		return InFlight, "the source is switching: " + src.w.State
	case src.err == nil && src.w.Runs() && dst.err == nil && dst.w.Active:
		return InFlight, "the destination has not given it up yet: " + dst.w.State
	case src.err == nil && src.w.Runs():
		return AtSource, ""
	case src.err != nil:
		return Unclear, fmt.Sprintf("the source does not answer: %v", src.err)
	case dst.err != nil:
		return Unclear, fmt.Sprintf("it is not active on the source, and the destination does not answer: %v", dst.err)
	case dst.w.Runs():
		return AtDestination, ""
	case dst.w.Active:
		return InFlight, "the destination is still receiving it: " + dst.w.State
	}
	return Unclear, "it runs on neither host"
}

// askAgain is the pause between two looks where no event tells: another
// host's daemon that comes back, another host's grant that is returned.
const askAgain = 200 * time.Millisecond

// until asks repeatedly until done says so or ctx ends; the error then carries
// what was waited for and the last answer. It is only for what gives no event.
func until(ctx context.Context, what string, done func() (bool, error)) error {
	t := time.NewTicker(askAgain)
	defer t.Stop()
	for {
		ok, err := done()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		switch { // both may be ready, and nobody answers who is asked too late
		case ctx.Err() != nil && err != nil:
			return fmt.Errorf("waited for %s: %w (last answer: %w)", what, context.Cause(ctx), err)
		case ctx.Err() != nil:
			return fmt.Errorf("waited for %s: %w", what, context.Cause(ctx))
		}
	}
}
