package drbd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/volbridge/volbridge/internal/lockfile"
	"github.com/volbridge/volbridge/pool"
)

// record is what this host has of a volume, one file for each. It is written
// before a role changes, so that whoever comes after a crash puts it back.
type record struct {
	Format    int     `json:"format"`
	Volume    string  `json:"volume"`
	SizeBytes int64   `json:"size_bytes"` // at the last grant
	Grants    []grant `json:"grants"`     // in the order in which they came
	// Gone are peers of which a person said that they use the volume no more;
	// see gone.go.
	Gone []string `json:"gone,omitempty"`
	// GoneAt is when a look last found them not connected, since this boot.
	GoneAt time.Duration `json:"gone_at_ns,omitempty"`
}

type grant struct {
	Host   grantHost       `json:"host"`
	BootID string          `json:"boot_id"`
	Owner  grantOwner      `json:"owner"`
	Mode   pool.AccessMode `json:"mode"`
	Since  time.Time       `json:"since"`
}

type grantHost struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

type grantOwner struct {
	UUID string `json:"uuid"`
	Name string `json:"name"`
}

const format = 1

func (r record) holders() []pool.Holder {
	var all []pool.Holder
	for _, g := range r.Grants {
		all = append(all, pool.Holder{
			Host: pool.Host{Name: g.Host.Name, ID: g.Host.ID}, Owner: pool.Owner{UUID: g.Owner.UUID, Name: g.Owner.Name},
			Mode: g.Mode, Since: g.Since, BootID: g.BootID,
		})
	}
	return all
}

// with returns r with one more grant, or with that of the same owner changed.
// All that the host holds is of the boot and under the name with which it asks.
func (r record) with(q pool.GrantRequest, now time.Time) record {
	r.Grants = slices.Clone(r.Grants)
	mine := -1
	for i := range r.Grants {
		g := &r.Grants[i]
		if g.Host.ID != q.Host.ID {
			continue
		}
		g.Host.Name, g.BootID = q.Host.Name, q.BootID
		if g.Owner.UUID == q.Owner.UUID {
			mine = i
			g.Owner.Name, g.Mode = q.Owner.Name, q.Mode
		}
	}
	if mine < 0 {
		r.Grants = append(r.Grants, grant{
			Host: grantHost{q.Host.Name, q.Host.ID}, BootID: q.BootID, Owner: grantOwner{q.Owner.UUID, q.Owner.Name}, Mode: q.Mode, Since: now.UTC(),
		})
	}
	return r
}

// without returns r without what the host holds.
func (r record) without(hostID string) record {
	r.Grants = slices.DeleteFunc(slices.Clone(r.Grants), func(g grant) bool { return g.Host.ID == hostID })
	return r
}

// multi says whether the volume is held here, and by <shareable/> disks only.
func (r record) multi() bool {
	return len(r.Grants) > 0 && !slices.ContainsFunc(r.Grants, func(g grant) bool { return g.Mode != pool.Multi })
}

const suffix = ".json"

func (b *backend) file(name string) string { return filepath.Join(b.records, name+suffix) }

// lock keeps others on this host from the volume's roles and record.
func (b *backend) lock(ctx context.Context, name string) (release func() error, err error) {
	return lockfile.Acquire(ctx, filepath.Join(b.records, name+".lock"))
}

// read returns an empty record if there is none. One that cannot be understood
// is an error: what it says is unknown, not nothing.
func (b *backend) read(name string) (record, error) {
	empty := record{Format: format, Volume: name}
	data, err := os.ReadFile(b.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return empty, err
	}
	var r record
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&r)
	if _, more := decoder.Token(); err == nil && !errors.Is(more, io.EOF) {
		err = errors.New("something follows its end")
	}
	if err = errors.Join(err, r.check(name)); err != nil {
		return empty, fmt.Errorf("%s, which says for whom this host has the volume, is damaged: %w; "+
			"if no domain here uses the volume, remove the file and run: drbdadm secondary %s", b.file(name), err, name)
	}
	return r, nil
}

func (r record) check(name string) error {
	if r.Format != format || r.Volume != name {
		return fmt.Errorf("it has format %d and is of volume %.40q", r.Format, r.Volume)
	}
	for _, g := range r.Grants {
		if g.Host.Name == "" || g.Host.ID == "" || g.BootID == "" || g.Owner.UUID == "" || !g.Mode.Valid() {
			return fmt.Errorf("a grant of host %.40q for domain %.40q (%.40q)", g.Host.Name, g.Owner.Name, g.Mode)
		}
	}
	return nil
}

// write replaces the record in one step, and removes one that says nothing. The
// folder is in memory: a crash of the host takes roles and record alike.
func (b *backend) write(r record) error {
	path := b.file(r.Volume)
	if len(r.Grants) == 0 && len(r.Gone) == 0 {
		err := os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// recorded are the volumes with a record, sorted.
func (b *backend) recorded() ([]string, error) {
	entries, err := os.ReadDir(b.records)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), suffix); ok && checkName(name) == nil {
			names = append(names, name)
		}
	}
	return names, err
}
