package bridge

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/pool"
)

// LinkDir is the folder of the device links that volbridge makes; each path
// below it is LinkDir + pool + "/" + volume.
const LinkDir = "/dev/" + blockdev.LinkFolder + "/"

// How a disk was recognised, in the order in which it is tried.
const (
	ByMetadata = "metadata"
	ByPath     = "path"
	ByVolume   = "volume"
)

// Disk is a disk that volbridge manages.
type Disk struct {
	Target string
	Pool   string
	Volume string
	// SizeBytes is what the guest sees, 0 where that is not known.
	SizeBytes int64
	// Multi: read-only and shareable disks may be reached by several hosts
	// and domains.
	Multi bool
	By    string // ByMetadata, ByPath or ByVolume
	XML   domainxml.Disk

	// whole: the source is this very volume and has no slice, so that the
	// guest sees all of the device, whatever the metadata says.
	whole bool
}

// Mode is the access that the disk asks for where otherwise would be asked for
// one that a single domain writes.
func (d Disk) Mode(otherwise pool.AccessMode) pool.AccessMode {
	if d.Multi {
		return pool.Multi
	}
	return otherwise
}

// Managed returns the managed disks of a domain in the order of the document.
// A disk is managed if the metadata declares it, else if a pool recognises its
// source path, else if it is of type='volume' and names a configured pool. A
// contradiction is an error, and so is a path of volbridge's own form that no
// pool of this host claims, a disk that left the volume that its metadata
// names, and an overlay on a device of volbridge; what was recognised is
// returned nevertheless.
func Managed(ctx context.Context, doc *domainxml.Document, pools Pools) ([]Disk, error) {
	m := recogniser{domain: doc.Name(), pools: pools, declared: declared(doc)}
	all := doc.Disks()
	found, is := make([]Disk, len(all)), make([]bool, len(all))
	err := each(len(all), lookups, func(i int) (err error) {
		found[i], is[i], err = m.recognise(ctx, all[i])
		return diskError(Disk{Target: all[i].Target}, doc.Name(), err)
	})
	var disks []Disk
	for i, d := range found {
		if is[i] {
			disks = append(disks, d)
		}
	}
	return disks, errors.Join(err, twice(disks, doc.Name()))
}

// lookups is how many disks are recognised at once.
const lookups = 16

// Stale returns the entries of the metadata whose disk the domain no longer
// has, or whose medium is gone: it was detached or ejected.
func Stale(doc *domainxml.Document) []domainxml.ManagedDisk {
	entries := declared(doc)
	for _, x := range doc.Disks() {
		if !x.Empty() {
			delete(entries, x.Target)
		}
	}
	meta, _ := doc.Metadata()
	var stale []domainxml.ManagedDisk
	for _, m := range meta.Disks {
		if _, is := entries[m.Target]; is {
			stale = append(stale, m)
		}
	}
	return stale
}

func declared(doc *domainxml.Document) map[string]domainxml.ManagedDisk {
	meta, _ := doc.Metadata()
	byTarget := make(map[string]domainxml.ManagedDisk, len(meta.Disks))
	for _, m := range meta.Disks {
		byTarget[m.Target] = m
	}
	return byTarget
}

func twice(disks []Disk, domain string) error {
	first := make(map[[2]string]Disk, len(disks))
	for _, d := range disks {
		key := [2]string{d.Pool, d.Volume}
		if other, is := first[key]; is {
			return diskError(d, domain, fmt.Errorf("volume %s/%s is disk %s already: remove one of the two", d.Pool, d.Volume, other.Target))
		}
		first[key] = d
	}
	return nil
}

type recogniser struct {
	domain   string
	pools    Pools
	declared map[string]domainxml.ManagedDisk
}

func (r recogniser) recognise(ctx context.Context, x domainxml.Disk) (Disk, bool, error) {
	if x.Empty() {
		return Disk{}, false, nil
	}
	d := Disk{Target: x.Target, SizeBytes: x.SliceBytes, Multi: x.ReadOnly || x.Shareable, XML: x}
	m, is := r.declared[x.Target]
	found, byPath, err := r.byPath(ctx, x.Kind, x.Source, m.Pool)
	if is {
		return r.fromMetadata(ctx, d, m, found, byPath, err)
	}
	if err == nil && !byPath {
		err = r.overlaid(ctx, x)
	}
	if err != nil {
		return Disk{}, false, err
	}
	switch {
	case byPath:
		d.Pool, d.Volume, d.By, d.whole = found.Pool, found.Name, ByPath, x.SliceBytes == 0
	case x.Kind == "volume" && r.configured(x.Pool):
		d.Pool, d.Volume, d.By = x.Pool, x.Volume, ByVolume
	default:
		return Disk{}, false, nil
	}
	return d, true, nil
}

// fromMetadata: the metadata says which volume it is, but not that the guest
// is still on it: a snapshot or a block copy moves the guest and leaves the
// entry. So the source must be that volume, in the form of whatever host;
// otherwise nothing is chosen, because the guest would be put back on old data.
func (r recogniser) fromMetadata(ctx context.Context, d Disk, m domainxml.ManagedDisk, found pool.Volume, byPath bool, err error) (Disk, bool, error) {
	d.Pool, d.Volume, d.By = m.Pool, m.Volume, ByMetadata
	same := byPath && found.Pool == m.Pool && found.Name == m.Volume
	d.whole = same && d.XML.SliceBytes == 0
	if d.SizeBytes == 0 {
		d.SizeBytes = m.SizeBytes
	}
	switch {
	case same:
		return d, true, nil
	case byPath:
		return d, true, fmt.Errorf("the metadata says volume %s/%s, but source %s is volume %s/%s: make them agree with \"virsh edit\"",
			m.Pool, m.Volume, d.XML.Source, found.Pool, found.Name)
	case err != nil && !errors.Is(err, ErrNoPool) && !errors.Is(err, pool.ErrNotFound):
		return d, true, err
	}
	if err := r.overlaid(ctx, d.XML); err != nil {
		return d, true, err
	}
	if d.mayBe(m) {
		return d, true, nil
	}
	if _, err := r.pools.Open(m.Pool); d.XML.Kind == "block" && errors.Is(err, ErrNoPool) {
		// Only that pool knows the paths of its volumes: this may well be the one.
		return d, true, fmt.Errorf("the metadata says volume %s/%s, and only its pool could tell whether that is %s: %w; "+
			"add the pool on this host, see \"volbridge pool add --help\"", m.Pool, m.Volume, sourceText(d.XML), err)
	}
	return d, true, moved(r.domain, d)
}

func (r recogniser) configured(name string) bool {
	for _, n := range r.pools.Names() {
		if n == name {
			return true
		}
	}
	return false
}

// byPath asks the pools whose volume has the source path, first the one that
// the metadata names. A path below LinkDir names its pool; for any other path
// all pools are asked, and one that cannot be opened cannot claim it. One that
// does not answer is only an error if no other claims it.
func (r recogniser) byPath(ctx context.Context, kind, source, first string) (pool.Volume, bool, error) {
	if kind != "block" && kind != "file" {
		return pool.Volume{}, false, nil
	}
	// A path with a slash too many leads to the same device.
	clean := filepath.Clean(source)
	if rest, ours := strings.CutPrefix(clean, LinkDir); ours {
		name, _, _ := strings.Cut(rest, "/")
		v, err := r.ask(ctx, name, clean)
		if err != nil {
			return v, false, fmt.Errorf("source %s: %w", source, err)
		}
		return v, true, nil
	}
	var errs []error
	for _, name := range r.order(first) {
		v, err := r.ask(ctx, name, clean)
		var closed *openError
		switch {
		case err == nil:
			return v, true, nil
		case errors.Is(err, pool.ErrNotFound), errors.As(err, &closed):
		default:
			errs = append(errs, fmt.Errorf("source %s: %w", source, err))
		}
	}
	return pool.Volume{}, false, errors.Join(errs...)
}

// order lists the pools in the order of the configuration, but for the first.
func (r recogniser) order(first string) []string {
	names := slices.Clone(r.pools.Names())
	slices.SortStableFunc(names, func(a, b string) int {
		switch first {
		case a:
			return -1
		case b:
			return 1
		}
		return 0
	})
	return names
}

func (r recogniser) ask(ctx context.Context, name, path string) (pool.Volume, error) {
	backend, err := r.pools.Open(name)
	if err != nil {
		return pool.Volume{}, &openError{err}
	}
	v, err := backend.LookupPath(ctx, path)
	if err != nil {
		return pool.Volume{}, err
	}
	v.Pool = name
	return v, nil
}

// openError: a pool could not be asked at all.
type openError struct{ err error }

func (e *openError) Error() string { return e.err.Error() }
func (e *openError) Unwrap() error { return e.err }
