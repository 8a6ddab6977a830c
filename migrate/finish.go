package migrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// Finish does what remains once the guest has arrived. Nothing here goes
// back: what cannot be done is a warning, and the guest runs.
func (m *Mover) Finish(ctx context.Context, rec *record) ([]string, error) {
	ctx = context.WithoutCancel(ctx)
	if err := rec.set(ctx, state.Arrived); err != nil {
		return nil, err
	}
	var warnings []string
	if err := m.alignStored(ctx, rec.d.Plan); err != nil {
		warnings = append(warnings, err.Error())
	}
	if rec.d.RemoveSource {
		for _, d := range rec.d.Plan.Copies() {
			if err := m.removeSource(ctx, rec, d); err != nil {
				warnings = append(warnings, fmt.Sprintf("the source of disk %s was not removed: %v", d.Target, err))
			}
		}
	}
	return warnings, rec.set(ctx, state.Finished)
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
		if d.Pool == "" {
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
	args := removeArgs{Target: d.Target, Pool: d.SourcePool, Volume: d.SourceVol, File: d.SourceFile}
	switch {
	case args.Pool != "":
		return rec.step(ctx, stepRemove, args, func() error { return m.removeVolume(ctx, args) })
	case args.File != "":
		return rec.step(ctx, stepRemove, args, func() error { return m.removeFile(ctx, rec.d.Plan, args.File) })
	}
	return fmt.Errorf("%s is neither a pool's volume nor an image file: remove it by hand", d.From)
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
	m.Watch.Step(fmt.Sprintf("delete volume %s/%s", a.Pool, a.Volume))
	return prov.Delete(ctx, a.Volume, "")
}

func (m *Mover) removeFile(ctx context.Context, p Plan, file string) error {
	users, err := m.Source.UsersOf(ctx, file, p.UUID)
	if err != nil {
		return errors.Join(fmt.Errorf("whether another domain uses %s is not known", file), err)
	}
	if len(users) > 0 {
		return fmt.Errorf("%s is used by domain %v on %s", file, users, p.SourceHost)
	}
	m.Watch.Step("remove " + file + " on " + p.SourceHost)
	return m.Source.RemoveFile(ctx, file)
}
