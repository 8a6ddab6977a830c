package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// Finish does what remains once the guest has arrived. Nothing here goes
// back: what cannot be done is a warning, and the guest runs.
func (m *Mover) Finish(ctx context.Context, rec *record) ([]string, error) {
	ctx, cancel := m.afterwards(ctx)
	defer cancel()
	if err := rec.set(ctx, state.Arrived); err != nil {
		return nil, err
	}
	var warnings []string
	if err := m.alignStored(ctx, rec.d.Plan); err != nil {
		warnings = append(warnings, err.Error())
	}
	if rec.d.RemoveSource {
		warnings = append(warnings, m.removeSources(ctx, rec)...)
	}
	return warnings, rec.set(ctx, state.Finished)
}

// removeSources removes what was copied, and returns a warning for each that
// stays.
func (m *Mover) removeSources(ctx context.Context, rec *record) (warnings []string) {
	removed, err := rec.removed(ctx)
	if err != nil {
		return []string{fmt.Sprintf("no source was removed, because what is removed already is not known: %v", err)}
	}
	for _, d := range rec.d.Plan.Copies() {
		if removed[d.Target] {
			continue
		}
		if err := m.removeSource(ctx, rec, d); err != nil {
			warnings = append(warnings, fmt.Sprintf("the source of disk %s was not removed: %v", d.Target, err))
		}
	}
	return warnings
}

// alignStored writes into the destination's stored definition the paths that
// its hook chose for the running one.
func (m *Mover) alignStored(ctx context.Context, p Plan) error {
	if !p.Persistent {
		return nil
	}
	liveXML, err := m.Dest.LiveXML(ctx, p.UUID)
	if err != nil {
		return fmt.Errorf("look whether the stored definition on %s names the right devices: %w", p.DestHost, err)
	}
	g, err := m.Dest.Guest(ctx, p.UUID)
	if err != nil {
		return fmt.Errorf("look whether the stored definition on %s names the right devices: %w", p.DestHost, err)
	}
	live, err := domainxml.Parse([]byte(liveXML))
	if err != nil {
		return err
	}
	stored, err := domainxml.Parse([]byte(g.StoredXML))
	if err != nil {
		return err
	}
	changed := differing(live, stored, p)
	if len(changed) == 0 {
		return nil
	}
	b, err := stored.Rewrite(changed, nil)
	if err != nil {
		return err
	}
	return m.Dest.Define(ctx, string(b))
}

// differing are the managed disks whose stored path is not the running one.
// Disks that the stored definition keeps on another kind of source are the
// administrator's.
func differing(live, stored *domainxml.Document, p Plan) []domainxml.BlockDisk {
	var out []domainxml.BlockDisk
	for _, d := range p.Disks {
		if d.Pool == "" || !d.Stored {
			continue
		}
		a, okA := live.Disk(d.Target)
		b, okB := stored.Disk(d.Target)
		if okA && okB && a.Kind == "block" && b.Kind == "block" && a.Source != b.Source {
			out = append(out, domainxml.BlockDisk{Target: d.Target, Path: a.Source, SliceBytes: b.SliceBytes})
		}
	}
	return out
}

// removeSource removes what a copied disk was copied from.
func (m *Mover) removeSource(ctx context.Context, rec *record, d DiskPlan) error {
	args := removeArgs{Target: d.Target, Pool: d.SourcePool, Volume: d.SourceVol, Identity: d.SourceIdentity, CreationID: d.SourceCreation, File: d.SourceFile}
	if err := m.unused(ctx, rec.d.Plan, d.SourcePath); err != nil {
		return err
	}
	switch {
	case args.Pool != "":
		return rec.step(ctx, stepRemove, args, func() error { return m.removeVolume(ctx, args) })
	case args.File != "" && args.Identity == "" && rec.dead:
		// The run was sure of it; since then, anybody may have put another there.
		return fmt.Errorf("whether %s on %s is still the file from which domain %s was copied is not known; %s",
			args.File, rec.d.Plan.SourceHost, rec.d.Plan.Domain, byHand(args.File))
	case args.File != "":
		return rec.step(ctx, stepRemove, args, func() error { return m.removeFile(ctx, rec.d.Plan, args) })
	}
	return fmt.Errorf("%s is neither a pool's volume nor an image file: remove it by hand", d.From)
}

func (m *Mover) removeFile(ctx context.Context, p Plan, a removeArgs) error {
	m.Watch.Step("remove " + a.File + " on " + p.SourceHost)
	err := m.Source.RemoveFile(ctx, a.File, a.Identity)
	if errors.Is(err, ErrReplaced) {
		return fmt.Errorf("%s on %s is not the file from which domain %s was copied: %w; %s", a.File, p.SourceHost, p.Domain, err, byHand(a.File))
	}
	return err
}

// byHand is what to do about a file that is perhaps somebody's.
func byHand(path string) string {
	return "it stays: look whose it is, and if nobody needs it, type rm '" + strings.ReplaceAll(path, "'", `'\''`) + "' there"
}

func (m *Mover) removeVolume(ctx context.Context, a removeArgs) error {
	b, err := m.Pools(a.Pool)
	if err != nil {
		return err
	}
	prov, ok := b.(pool.Provisioner)
	if !ok {
		return fmt.Errorf("pool %s cannot delete volumes: delete %s/%s on the array", a.Pool, a.Pool, a.Volume)
	}
	v, err := b.Lookup(ctx, a.Volume)
	if err != nil {
		return err
	}
	if a.Identity == "" || string(v.Identity) != a.Identity {
		return fmt.Errorf("volume %s/%s is not the one that was copied (it is %s, that was %s)", a.Pool, a.Volume, v.Identity, a.Identity)
	}
	if v.CreationID != a.CreationID {
		return fmt.Errorf("volume %s/%s is not the one that was copied: it was deleted, and made again under its name; it stays", a.Pool, a.Volume)
	}
	m.Watch.Step(fmt.Sprintf("delete volume %s/%s", a.Pool, a.Volume))
	return prov.Delete(ctx, a.Volume, a.CreationID)
}

// unused refuses while a domain of either host, the migrated one included,
// names the path: it would lose its disk. The running guest is looked at once
// more, right before something is removed.
func (m *Mover) unused(ctx context.Context, p Plan, path string) error {
	if ours, err := m.ours(ctx, p); err != nil || !ours {
		return errors.Join(fmt.Errorf("the guest was not seen on its new volumes, so %s stays: see \"virsh domblklist\", and remove it by hand", path), err)
	}
	for _, h := range []Hypervisor{m.Source, m.Dest} {
		users, err := h.UsersOf(ctx, path)
		if err != nil {
			return fmt.Errorf("whether a domain uses %s is not known: %w", path, err)
		}
		if len(users) > 0 {
			return fmt.Errorf("%s is named by domain %s on %s", path, strings.Join(users, " and "), h.URI())
		}
	}
	return nil
}

// afterwards is the time for what follows once the guest's place is known; an
// interrupt does not end it.
func (m *Mover) afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx = context.WithoutCancel(ctx)
	if m.Limit <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, m.Limit, fmt.Errorf("not done within %s", m.Limit))
}
