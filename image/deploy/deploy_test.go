package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/image"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/pool"
)

const mib = 1 << 20

var errInjected = errors.New("injected")

// world is a pool of at most one volume, on a loop device, and the records of a
// host. Every act on it is a step, at one of which a fault may strike.
type world struct {
	node, file string

	volume   string // its creation id, "" if there is none
	borrowed bool
	made     blockdev.Identity // of the volume that Create makes
	lent     blockdev.Identity // of the device that is borrowed
	copies   map[string]state.Copy
	locked   bool
	// meanwhile is what somebody else does while the volume is being lent.
	meanwhile func()

	steps []string
	at    int // -1: never
	after bool
}

func newWorld(t *testing.T, content byte) *world {
	t.Helper()
	testenv.NeedRoot(t)
	w := &world{file: filepath.Join(t.TempDir(), "device"), copies: map[string]state.Copy{}, at: -1}
	if err := os.WriteFile(w.file, bytes.Repeat([]byte{content}, 8*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", "--direct-io=on", w.file).CombinedOutput()
	if err != nil {
		t.Fatalf("losetup: %v: %s", err, out)
	}
	w.node = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", w.node).CombinedOutput(); err != nil {
			t.Errorf("losetup --detach %s: %v: %s", w.node, err, out)
		}
	})
	return w
}

func (w *world) step(name string, do func() error) error {
	n := len(w.steps)
	w.steps = append(w.steps, name)
	if n != w.at {
		return do()
	}
	err := fmt.Errorf("%s: %w", name, errInjected)
	if w.after {
		return errors.Join(err, do())
	}
	return err
}

func (w *world) Borrow(_ context.Context, _ pool.Owner, _, _ string) (d blockdev.Device, err error) {
	err = w.step("borrow", func() error {
		if w.volume == "" {
			return pool.ErrNotFound
		}
		w.borrowed = true
		if w.meanwhile != nil {
			w.meanwhile()
		}
		return nil
	})
	if err != nil {
		w.borrowed = false // the bridge takes back what it began
	}
	return blockdev.Device{Path: w.node, Node: w.node, Identity: w.lent, SizeBytes: 8 * mib}, err
}

func (w *world) Return(context.Context, pool.Owner) error {
	return w.step("return", func() error { w.borrowed = false; return nil })
}

func (w *world) BeginCopy(_ context.Context, c state.Copy) error {
	return w.step("begin", func() error { w.copies[c.OwnerUUID] = c; return nil })
}

func (w *world) StartWriting(_ context.Context, uuid string) error {
	return w.step("writing", func() error {
		c := w.copies[uuid]
		c.Writing = true
		w.copies[uuid] = c
		return nil
	})
}

func (w *world) EndCopy(_ context.Context, uuid string) error {
	return w.step("end", func() error { delete(w.copies, uuid); return nil })
}

func (w *world) Create(_ context.Context, r pool.CreateRequest) (v pool.Volume, err error) {
	err = w.step("create", func() error {
		if w.volume != "" && w.volume != r.CreationID {
			return pool.ErrExists
		}
		w.volume = r.CreationID
		return nil
	})
	return pool.Volume{Pool: "fast", Name: r.Name, Identity: w.made, SizeBytes: 8 * mib, CreationID: r.CreationID}, err
}

func (w *world) Delete(_ context.Context, _, creationID string) error {
	return w.step("delete", func() error {
		switch {
		case w.borrowed:
			return &pool.HeldError{}
		case w.volume != "" && w.volume != creationID:
			return pool.ErrNotOurs
		}
		w.volume = ""
		return nil
	})
}

func (w *world) Resize(context.Context, string, int64) (pool.Volume, error) {
	return pool.Volume{}, errors.New("not used")
}

func (w *world) deployer() *Deployer {
	return &Deployer{
		Tool: image.System(), Lender: w, Records: w, NewUUID: func() string { return "owner" }, UndoTimeout: time.Minute,
		Lock: func(string) (func() error, error) {
			w.locked = true
			return func() error { w.locked = false; return nil }, nil
		},
	}
}

func source(t *testing.T) image.Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, bytes.Repeat([]byte("data"), mib), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := image.Examine(t.Context(), image.System(), path, "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) complete(t *testing.T) bool {
	t.Helper()
	data, err := os.ReadFile(w.file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(data[:4*mib], bytes.Repeat([]byte("data"), mib)) && bytes.Equal(data[4*mib:], make([]byte, 4*mib))
}

// TestCreateFaults lets every step fail, before or after its effect. Then either
// the volume is there and complete, or nothing is left, or what is left is
// recorded and the error says so.
func TestCreateFaults(t *testing.T) {
	s := source(t)
	for _, after := range []bool{false, true} {
		for n := 0; ; n++ {
			w := newWorld(t, 0)
			w.at, w.after = n, after
			_, err := w.deployer().Create(t.Context(), w, pool.CreateRequest{Name: "web", CreationID: "id"}, Job{Source: s, Pool: "fast", Volume: "web"})
			if len(w.steps) <= n {
				if err != nil {
					t.Errorf("without a fault: %v", err)
				}
				break
			}
			what := fmt.Sprintf("fault at %s (after %v) in %v: %v", w.steps[n], after, w.steps, err)
			var failed *FailedError
			var returned *ReturnError
			switch {
			case w.locked:
				t.Errorf("%s: still locked", what)
			case !errors.Is(err, errInjected):
				t.Errorf("%s: the cause is lost", what)
			case errors.As(err, &returned):
				if w.volume == "" || !w.complete(t) || len(w.copies) > 0 {
					t.Errorf("%s: volume %q, records %v", what, w.volume, w.copies)
				}
			case errors.As(err, &failed) && failed.Left != nil:
				if len(w.copies) == 0 && w.volume != "" {
					t.Errorf("%s: what is left is not recorded", what)
				}
			case w.volume != "" || w.borrowed || len(w.copies) > 0 && w.steps[n] != "begin":
				t.Errorf("%s: left: volume %q, borrowed %v, records %v", what, w.volume, w.borrowed, w.copies)
			}
		}
	}
}

// A name that is taken stays whose it is.
func TestCreateExisting(t *testing.T) {
	w := newWorld(t, 0)
	w.volume = "somebody else's"
	_, err := w.deployer().Create(t.Context(), w, pool.CreateRequest{Name: "web", CreationID: "id"}, Job{Source: source(t), Pool: "fast", Volume: "web"})
	if !errors.Is(err, pool.ErrExists) || w.volume != "somebody else's" || len(w.copies) > 0 || slices.Contains(w.steps, "delete") {
		t.Errorf("err = %v, volume %q, records %v, steps %v", err, w.volume, w.copies, w.steps)
	}
}

func TestImport(t *testing.T) {
	s := source(t)
	for _, c := range []struct {
		name      string
		content   byte
		overwrite bool
		notEmpty  bool
	}{
		{"empty", 0, false, false},
		{"not empty", 0xee, false, true},
		{"not empty, to be overwritten", 0xee, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.content)
			w.volume = "made by hand"
			err := w.deployer().Import(t.Context(), Job{Source: s, Pool: "fast", Volume: "web", Overwrite: c.overwrite, Compare: true})
			var notEmpty *NotEmptyError
			if errors.As(err, &notEmpty) != c.notEmpty || (err == nil) == c.notEmpty {
				t.Errorf("err = %v", err)
			}
			if w.complete(t) == c.notEmpty || w.volume == "" || w.borrowed || len(w.copies) > 0 {
				t.Errorf("complete %v, volume %q, borrowed %v, records %v", w.complete(t), w.volume, w.borrowed, w.copies)
			}
		})
	}
}

// A failed import says what it means for what was there, and deletes nothing.
func TestImportFaults(t *testing.T) {
	s := source(t)
	for n := 0; ; n++ {
		w := newWorld(t, 0xee)
		w.volume, w.at = "made by hand", n
		err := w.deployer().Import(t.Context(), Job{Source: s, Pool: "fast", Volume: "web", Overwrite: true})
		if len(w.steps) <= n {
			break
		}
		var failed *FailedError
		gone := !slices.Contains([]string{"begin", "borrow", "writing"}, w.steps[n])
		if errors.As(err, &failed) && failed.Overwritten != gone {
			t.Errorf("fault at %s: overwritten %v", w.steps[n], failed.Overwritten)
		}
		if w.volume == "" || slices.Contains(w.steps, "delete") || err == nil {
			t.Errorf("fault at %s: volume %q after %v: %v", w.steps[n], w.volume, w.steps, err)
		}
		data, rerr := os.ReadFile(w.file)
		if rerr != nil {
			t.Fatal(rerr)
		}
		if !gone && !bytes.Equal(data, bytes.Repeat([]byte{0xee}, 8*mib)) {
			t.Errorf("fault at %s: the volume was written", w.steps[n])
		}
	}
}

func TestInterruptedWorkIsTakenBack(t *testing.T) {
	w := newWorld(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	d := w.deployer()
	d.Watch = func(image.Progress) { cancel() }
	_, err := d.Create(ctx, w, pool.CreateRequest{Name: "web", CreationID: "id"}, Job{Source: source(t), Pool: "fast", Volume: "web"})
	var failed *FailedError
	if !errors.As(err, &failed) || !errors.Is(err, context.Canceled) || failed.Left != nil || w.volume != "" || len(w.copies) > 0 || w.borrowed {
		t.Errorf("err = %v, volume %q, records %v, borrowed %v", err, w.volume, w.copies, w.borrowed)
	}
}

// A copy whose volume was replaced says so: nothing of that name was deleted.
func TestReplacedVolumeStays(t *testing.T) {
	for volume, replaced := range map[string]bool{"ours": false, "theirs": true} {
		w := newWorld(t, 'x')
		w.made, w.lent = "one", "another"
		w.meanwhile = func() { w.volume = volume }
		_, err := w.deployer().Create(t.Context(), w, pool.CreateRequest{Name: "web", CreationID: "ours"}, Job{Source: source(t), Pool: "fast", Volume: "web"})
		var failed *FailedError
		if !errors.As(err, &failed) || failed.Left != nil || failed.Replaced != replaced {
			t.Errorf("volume of %s: %+v", volume, err)
		}
	}
}

// TestVolumeOfTheSameName: between its creation, or the look at it, and the
// loan somebody has deleted the volume and made another one of its name. That one
// is not written.
func TestVolumeOfTheSameName(t *testing.T) {
	for name, act := range map[string]func(w *world, j Job) error{
		"create": func(w *world, j Job) error {
			_, err := w.deployer().Create(t.Context(), w, pool.CreateRequest{Name: "web", CreationID: "ours"}, j)
			return err
		},
		"import": func(w *world, j Job) error {
			w.volume = "theirs"
			j.Identity, j.Overwrite = w.made, true
			return w.deployer().Import(t.Context(), j)
		},
		"import, of a volume whose identity is its name": func(w *world, j Job) error {
			w.volume, w.lent = "theirs", w.made
			j.Identity, j.Overwrite = w.made, true
			j.Meant = func(context.Context) error {
				if !w.borrowed {
					t.Error("asked while anybody could still have it")
				}
				return errors.New("made anew")
			}
			return w.deployer().Import(t.Context(), j)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 'x')
			w.made, w.lent = "one", "another"
			err := act(w, Job{Source: source(t), Pool: "fast", Volume: "web"})
			if err == nil || !strings.Contains(err.Error(), "made anew") {
				t.Error(err)
			}
			data, err := os.ReadFile(w.file)
			if err != nil || !bytes.Equal(data, bytes.Repeat([]byte{'x'}, 8*mib)) {
				t.Errorf("it was written (%v)", err)
			}
			if w.borrowed || len(w.copies) > 0 || w.locked {
				t.Errorf("left: %+v", w)
			}
		})
	}
}
