package blockdev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// attach waits for what is missing.
func (t drbd) attach(ctx context.Context, c Connection) (d Device, err error) {
	if err := t.check(c); err != nil {
		return Device{}, err
	}
	if c.SizeBytes <= 0 {
		return Device{}, fmt.Errorf("a volume of %d bytes cannot be attached", c.SizeBytes)
	}
	prodded := false
	err = t.await(ctx, c, func(ctx context.Context) error {
		d, err = t.look(ctx, c)
		var nameless *unlinked
		if !errors.As(err, &nameless) {
			return err
		}
		if !prodded {
			prodded = true
			if err := t.prod(nameless.minor); err != nil {
				return errors.Join(err, &nameless.unsettled)
			}
		}
		return &nameless.unsettled
	})
	var missing *unsettled
	if errors.As(err, &missing) && missing.wrong {
		err = fmt.Errorf("%w: %w", ErrWrongDevice, err)
	}
	return d, err
}

// gone returns once the kernel has no such volume and its link leads nowhere.
func (t drbd) gone(ctx context.Context, c Connection) error {
	if err := t.check(c); err != nil {
		return err
	}
	return t.await(ctx, c, func(ctx context.Context) error {
		s, err := t.tools.State(ctx, c.DRBD.Resource)
		if err != nil {
			return err
		}
		if d, up := s.Device(c.DRBD.Volume); up {
			return &unsettled{missing: fmt.Sprintf("%s is still here as volume %d of DRBD resource %s; has its controller taken it down on this host?",
				t.node(d), d.Volume, c.DRBD.Resource)}
		}
		target, err := readLink(c.Path)
		if err != nil || target == "" {
			return err
		}
		if _, err := os.Lstat(target); vanished(err) {
			return nil // a link that udev is about to remove hands nobody a device
		}
		return &unsettled{missing: fmt.Sprintf("%s still leads to %s", c.Path, target)}
	})
}

// await calls look, now and whenever something on the way to the device comes
// or goes, until it no longer returns an *unsettled or ctx ends.
func (t drbd) await(ctx context.Context, c Connection, look func(context.Context) error) error {
	started := time.Now()
	w, err := newWatcher()
	if err != nil {
		return err
	}
	defer w.close()
	for {
		// Before each look, so that what comes after it makes an event.
		if err := t.watch(w, c); err != nil {
			return err
		}
		err := look(ctx)
		var missing *unsettled
		if !errors.As(err, &missing) {
			return err
		}
		if t.waits != nil {
			t.waits()
		}
		if ended := w.next(ctx); ended != nil {
			return fmt.Errorf("waited %s, but %w: %w", time.Since(started).Round(time.Millisecond), err, ended)
		}
	}
}

// watch watches the folder of the kernel's nodes and those on the way to the
// link, as far as they exist. It looks again until there is no further one: what
// comes after that makes an event.
func (t drbd) watch(w *watcher, c Connection) error {
	folders, watched := []string{t.host.Dev}, map[string]bool{}
	for {
		further := false
		for _, folder := range folders {
			if watched[folder] {
				continue
			}
			further, watched[folder] = true, true
			if err := w.add(folder, changing); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if !further {
			return nil
		}
		var there bool
		var err error
		if folders, there, err = trail(c.Path); err != nil {
			return err
		}
		if !there {
			folders = folders[:len(folders)-1] // the last is what is missing
		}
	}
}
