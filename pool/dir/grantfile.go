package dir

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/volbridge/volbridge/pool"
)

// grantFile is what one host holds of a volume. There is one file for each
// host id, so that two hosts never write the same one; of clones, which share
// an id, only one can make it.
type grantFile struct {
	Format int          `json:"format"`
	Host   grantHost    `json:"host"`
	Owners []grantOwner `json:"owners"` // in the order in which they came
}

type grantHost struct {
	Name   string `json:"name"`
	ID     string `json:"id"`
	BootID string `json:"boot_id"`
}

func (h grantHost) host() pool.Host { return pool.Host{Name: h.Name, ID: h.ID} }

type grantOwner struct {
	UUID  string          `json:"uuid"`
	Name  string          `json:"name"`
	Mode  pool.AccessMode `json:"mode"`
	Since time.Time       `json:"since"`
}

// grantName is the name of a host's file: any id is possible.
func grantName(h pool.Host) string {
	return fmt.Sprintf("%x.json", sha256.Sum256([]byte(h.ID)))
}

// with returns g with one more owner, or with the mode of that owner changed,
// as of the boot and under the name with which the host asks. g stays as it is.
func (g grantFile) with(r pool.GrantRequest, now time.Time) grantFile {
	next := grantFile{Format: format, Host: grantHost{r.Host.Name, r.Host.ID, r.BootID}, Owners: slices.Clone(g.Owners)}
	for i, o := range next.Owners {
		if o.UUID == r.Owner.UUID {
			next.Owners[i].Name, next.Owners[i].Mode = r.Owner.Name, r.Mode
			return next
		}
	}
	next.Owners = append(next.Owners, grantOwner{r.Owner.UUID, r.Owner.Name, r.Mode, now.UTC()})
	return next
}

func (g grantFile) holders() []pool.Holder {
	var out []pool.Holder
	for _, o := range g.Owners {
		out = append(out, pool.Holder{
			Host: g.Host.host(), BootID: g.Host.BootID, Owner: pool.Owner{UUID: o.UUID, Name: o.Name}, Mode: o.Mode, Since: o.Since,
		})
	}
	return out
}

// grants opens the folder of the volume's grants. It was made with the volume:
// if it is missing nobody can say who holds the volume.
func (f *folder) grants() (*os.Root, error) {
	info, err := f.root.Lstat(grantsName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, damaged{fmt.Errorf("%s is missing, so nobody knows which hosts have the volume; "+
			"see that no domain uses it on any host, then make the folder again", f.path(grantsName))}
	}
	if err != nil {
		return nil, explain(err)
	}
	if !info.IsDir() {
		return nil, damaged{fmt.Errorf("%s is no folder (mode %s)", f.path(grantsName), info.Mode())}
	}
	sub, err := f.root.OpenRoot(grantsName)
	return sub, explain(err)
}

// readHolders returns everybody who holds the volume. One file that cannot be
// understood makes it an error: that holder is unknown, not absent.
func readHolders(grants *os.Root) ([]pool.Holder, error) {
	names, err := list(grants)
	if err != nil {
		return nil, err
	}
	var all []pool.Holder
	for _, name := range names {
		if strings.HasPrefix(name, ".") { // not complete yet, or kept by NFS for one who reads it
			continue
		}
		g, err := readGrant(grants, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // revoked just now
		}
		if err != nil {
			return nil, fmt.Errorf("a host of unknown name may hold the volume: %w; "+
				"if no host uses the volume, remove the file %s", err, filepath.Join(grants.Name(), name))
		}
		all = append(all, g.holders()...)
	}
	pool.SortHolders(all)
	return all, nil
}

func readGrant(grants *os.Root, name string) (grantFile, error) {
	var g grantFile
	if err := readJSON(grants, name, &g); err != nil {
		return grantFile{}, err
	}
	if err := g.check(name); err != nil {
		return grantFile{}, fmt.Errorf("%s is damaged: %w", filepath.Join(grants.Name(), name), err)
	}
	return g, nil
}

func (g grantFile) check(name string) error {
	if err := g.Host.host().Validate(); err != nil {
		return err
	}
	if want := grantName(g.Host.host()); name != want {
		return fmt.Errorf("it is of host %s and should be named %s", g.Host.Name, want)
	}
	if g.Host.BootID == "" {
		return errors.New("it names no boot of the host")
	}
	if len(g.Owners) == 0 {
		return errors.New("it names no domain")
	}
	for _, o := range g.Owners {
		if o.UUID == "" || !o.Mode.Valid() {
			return fmt.Errorf("domain %q with UUID %q and mode %q", o.Name, o.UUID, o.Mode)
		}
	}
	return nil
}
