package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/volbridge/volbridge/domainxml"
)

// unchanged looks at the guest once more, and refuses one that is not as it was
// planned: libvirt starts on the destination what it is told, so that a disk which
// has got an overlay or been copied since would be there as it was before.
// Milliseconds remain until libvirt begins its job; watchDisks sees to them.
func (m *Mover) unchanged(ctx context.Context, f Facts) error {
	at := fmt.Sprintf("domain %s on %s", f.Guest.Name, f.Source.Name)
	now, err := m.Source.Guest(ctx, f.Guest.UUID)
	switch {
	case errors.Is(err, ErrNoGuest), err == nil && !now.Active:
		return fmt.Errorf("%s was stopped after the plan was made: start it, and repeat the command", at)
	case err != nil:
		return fmt.Errorf("look at %s once more: %w", at, err)
	case now.ID != f.Guest.ID:
		return fmt.Errorf("%s was stopped and started after the plan was made: repeat the command", at)
	}
	if busy := begun(now); len(busy) > 0 {
		return fmt.Errorf("%s has %s since the plan was made: wait until that has ended, and repeat the command", at, strings.Join(busy, ", and "))
	}
	return sameDisks(f, now.LiveXML)
}

// begun names what the plan would not have been made with.
func begun(g Guest) []string {
	var found []string
	if g.Snapshots > 0 {
		found = append(found, fmt.Sprintf("libvirt snapshots (%d)", g.Snapshots))
	}
	if g.Job != "" {
		found = append(found, fmt.Sprintf("a running job (%s)", g.Job))
	}
	for target, job := range g.BlockJobs {
		found = append(found, fmt.Sprintf("a running block job on disk %s (%s)", target, job))
	}
	sort.Strings(found)
	return found
}

// sameDisks compares what each disk is on with what was planned, and nothing else:
// metadata, caching and the like may change without harm.
func sameDisks(f Facts, liveXML string) error {
	at := fmt.Sprintf("domain %s on %s", f.Guest.Name, f.Source.Name)
	now, err := domainxml.Parse([]byte(liveXML))
	if err != nil {
		return fmt.Errorf("read the definition of %s once more: %w", at, err)
	}
	var changes []string
	for _, was := range f.Live.Disks() {
		is, ok := now.Disk(was.Target)
		switch {
		case !ok:
			changes = append(changes, fmt.Sprintf("disk %s of %s was on %s when the plan was made, and is not there now", was.Target, at, storage(was)))
		case !sameStorage(was, is):
			changes = append(changes, fmt.Sprintf("disk %s of %s was on %s when the plan was made, and is on %s now", was.Target, at, storage(was), storage(is)))
		}
	}
	for _, is := range now.Disks() {
		if _, ok := f.Live.Disk(is.Target); !ok {
			changes = append(changes, fmt.Sprintf("disk %s of %s was not there when the plan was made, and is on %s now", is.Target, at, storage(is)))
		}
	}
	if len(changes) > 0 {
		return fmt.Errorf("%s: see what did that, and repeat the command", strings.Join(changes, "; "))
	}
	return nil
}

func sameStorage(a, b domainxml.Disk) bool {
	return a.Kind == b.Kind && a.Source == b.Source && a.Pool == b.Pool && a.Volume == b.Volume &&
		a.Format == b.Format && a.SliceBytes == b.SliceBytes && slices.Equal(a.Backing, b.Backing)
}

// storage describes what a disk is on, for people.
func storage(d domainxml.Disk) string {
	if d.Empty() {
		return "nothing"
	}
	words := []string{d.Kind, d.Source}
	if d.Kind == "volume" {
		words[1] = d.Pool + "/" + d.Volume
	}
	if d.Format != "" {
		words = append(words, "("+d.Format+")")
	}
	if d.SliceBytes > 0 {
		words = append(words, fmt.Sprintf("(its first %d bytes)", d.SliceBytes))
	}
	for _, b := range d.Backing {
		words = append(words, "above", b.Kind, b.Source)
	}
	return strings.Join(words, " ")
}

// watchDisks returns what each sample of libvirt's job calls: it compares the disks
// once more and gives a difference to changed. While the job runs libvirt refuses
// snapshots and block jobs, so that one answer is final. A migration that is over
// before the first sample is not looked at again.
func (m *Mover) watchDisks(ctx context.Context, f Facts, changed func(error)) func() {
	answered := false
	return func() {
		if answered {
			return
		}
		xml, err := m.Source.LiveXML(ctx, f.Guest.UUID)
		if err != nil {
			return // that it does not answer says nothing of the disks: the next sample asks again
		}
		answered = true
		if err := sameDisks(f, xml); err != nil {
			changed(err)
		}
	}
}
