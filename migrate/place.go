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
	// AtBoth: it runs on both hosts, and both write. Nothing may be undone, and
	// nothing gets better by waiting.
	AtBoth
	// Unconfirmed: it runs on the destination, and stands paused for migration on
	// the source, where no job is left that would end it. Every migration passes
	// this; it means something only when it stays.
	Unconfirmed
)

func (p Place) String() string {
	return [...]string{"unclear", "on the source", "on the destination", "under way", "on both hosts", "on the destination, and paused on the source"}[p]
}

// remedy says what a person has to do about a place that nothing but a person can
// change, and "" of any other. The guest is never to be resumed where it stopped:
// the other one has written since.
func (p Place) remedy(domain, srcURI, destURI string) string {
	switch p {
	case AtBoth:
		return fmt.Sprintf("the guest RUNS ON BOTH HOSTS, and both write to its disks: stop one of them at once, normally the one on the source, with `virsh -c %s destroy %s`; "+
			"then check the guest's file systems, then run `volbridge recover`", srcURI, domain)
	case Unconfirmed:
		return fmt.Sprintf("the guest has arrived on %s, but stands paused on the source: never resume it there; end it with `virsh -c %s destroy %s`, then run `volbridge recover`", destURI, srcURI, domain)
	}
	return ""
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

// sights asks the source and then the destination. What the guest passes on its way
// may also be what is left of a broken one, and the guest may have left the source
// between the two answers: then both are asked again.
func sights(src, dst func() sight) (sight, sight) {
	s, d := src(), dst()
	if place, _ := judge(s, d); place == AtBoth || place == Unconfirmed {
		s, d = src(), dst()
	}
	return s, d
}

// judge decides from what both daemons said. A guest that runs on the source
// without a migration job has not left it, whatever the destination says or
// cannot say: to arrive, it would have had to stop here first. The reverse
// needs both: a source that does not answer may still run it.
func judge(src, dst sight) (Place, string) {
	switch {
	case src.err == nil && src.w.Runs() && src.w.Job != JobMigrationOut &&
		dst.err == nil && dst.w.Runs() && dst.w.Job != JobMigrationIn:
		return AtBoth, "it runs on both hosts"
	case src.err == nil && src.w.Active && src.w.Job != "":
		return InFlight, "the source has a job: " + src.w.Job
	case src.err == nil && src.w.Active && src.w.ForMigration && dst.err == nil && dst.w.Runs() && dst.w.Job == "":
		return Unconfirmed, "the source has no job that would end it: " + src.w.State
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
