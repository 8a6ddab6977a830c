package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/volbridge/volbridge/pool"
)

// Where locks hold on one host only, the maker of a leftover may live on another,
// and rename it to a volume at any moment: once anything of it was removed, it
// must be too late for that. Its many files make the removal take a while.
func TestSweepOfWhatAnotherHostFinishes(t *testing.T) {
	for _, prefix := range []string{creatingPrefix, deletedPrefix} {
		t.Run(prefix, func(t *testing.T) {
			b := newPool(t)
			left := prefix + "1"
			b.makeFolder(t, left)
			for i := range 3000 {
				must(t, os.WriteFile(b.file(left, fmt.Sprintf("a%04d", i)), nil, 0o600))
			}
			finished := make(chan error, 1)
			go func() {
				for {
					if _, err := os.Lstat(b.file(left, "a0000")); err != nil {
						finished <- os.Rename(b.file(left), b.file("vol1"))
						return
					}
				}
			}()
			b.mustCreate(t, "vol2")
			if err := <-finished; !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a folder that is being emptied became a volume: %v", err)
			}
			if got := names(t, b.path); got != "vol2 volbridge-pool.json" {
				t.Errorf("left: %s", got)
			}
		})
	}
}

// A host whose locks exclude nobody here sweeps away volumes that are all but
// made: then they are made again, and those that Create returned are whole.
func TestSweepDuringCreate(t *testing.T) {
	b := newPool(t)
	root, err := b.openPool()
	must(t, err)
	defer root.Close()
	stop := b.sweepWithoutLocks(t, root)
	var made []pool.Volume
	for i := range 50 {
		made = append(made, b.mustCreate(t, fmt.Sprint("vol", i)))
	}
	stop()
	damaged := 0
	for _, v := range made {
		if found, err := b.Lookup(t.Context(), v.Name); err != nil || found != v || names(t, b.file(v.Name)) != "disk.raw grants lock volume.json" {
			damaged++
		}
	}
	if damaged > 0 {
		t.Errorf("%d of %d volumes are damaged", damaged, len(made))
	}
	if got := names(t, b.path); strings.Contains(got, creatingPrefix) || strings.Contains(got, deletedPrefix) {
		t.Errorf("left: %s", got)
	}
}

// sweepWithoutLocks sweeps each unfinished volume once, as soon as it is almost
// finished or a little later, until it is stopped.
func (b *backend) sweepWithoutLocks(t *testing.T, root *os.Root) (stop func()) {
	var all sync.WaitGroup
	done := make(chan struct{})
	sweep := func(name string, after time.Duration) error {
		time.Sleep(after)
		temp, err := b.takeLeftover(root, name)
		if temp == "" {
			return err
		}
		return removeFolder(root, temp)
	}
	all.Go(func() {
		var seen []string
		for {
			select {
			case <-done:
				return
			default:
			}
			names, err := list(root)
			if err != nil {
				t.Error(err)
				return
			}
			for _, name := range names {
				if _, err := root.Lstat(filepath.Join(name, metaName)); err != nil ||
					!strings.HasPrefix(name, creatingPrefix) || slices.Contains(seen, name) {
					continue
				}
				seen = append(seen, name)
				if err := sweep(name, time.Duration(len(seen)%10)*20*time.Microsecond); err != nil {
					t.Errorf("sweep %s: %v", name, err)
				}
			}
		}
	})
	return func() { close(done); all.Wait() }
}

// A grant, here one that cannot be read yet, that comes while a leftover is being taken: whatever is seen of
// it, the folder is whole and where takeLeftover says.
func TestGrantDuringSweep(t *testing.T) {
	b := newPool(t)
	root, err := b.openPool()
	must(t, err)
	defer root.Close()
	for i := range 400 {
		const left = ".deleted-1"
		b.makeFolder(t, left)
		grants, err := root.OpenRoot(filepath.Join(left, grantsName))
		must(t, err)
		var granted sync.WaitGroup
		granted.Go(func() {
			time.Sleep(time.Duration(i%20) * 5 * time.Microsecond)
			// A handle stays with the folder, as that of a host that grants does.
			if err := grants.WriteFile(grantName(kvm01), nil, 0o600); err != nil {
				t.Error(err)
			}
		})
		temp, err := b.takeLeftover(root, left)
		granted.Wait()
		at := left
		if temp != "" {
			at = temp
		}
		if (temp == "") != (err != nil) {
			t.Errorf("taken as %q: %v", temp, err)
		}
		if got := names(t, b.path); got != at+" volbridge-pool.json" {
			t.Fatalf("taken as %q, the pool holds %s", temp, got)
		}
		if got := names(t, b.file(at)); got != "disk.raw grants lock volume.json" {
			t.Fatalf("taken as %q, it holds %s", temp, got)
		}
		must(t, grants.Close(), os.RemoveAll(b.file(at)))
	}
}

func (b *backend) makeFolder(t *testing.T, name string) {
	t.Helper()
	must(t, os.MkdirAll(b.file(name, grantsName), 0o700))
	for _, file := range []string{diskName, lockName, metaName} {
		must(t, os.WriteFile(b.file(name, file), nil, 0o600))
	}
}
