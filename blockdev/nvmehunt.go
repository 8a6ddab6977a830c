package blockdev

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// nvmeHunt waits until the device of one connection is as it should be. It
// looks at everything again whenever something happened, and gives the kernel
// and udev a push where they would not move by themselves.
type nvmeHunt struct {
	t       nvme
	c       Connection
	w       *wakeups // nil until there is something to wait for
	started time.Time
	links   nvmeConnects
	scans   nvmeScans
	udev    udevPush
	ahead   nvmeAhead
	view    nvmeView // the last
	notes   []string // what went wrong on the side
}

func (h *nvmeHunt) see(v nvmeView) {
	h.view = v
	h.scans.seen(v)
}

func (h *nvmeHunt) note(err error) {
	if err != nil {
		h.notes = append(h.notes, err.Error())
	}
}

// hunt runs look, now and after every event, until it returns anything but
// unsettled, or ctx ends.
func (t nvme) hunt(ctx context.Context, c Connection, look func(context.Context, *nvmeHunt) (Device, error)) (Device, error) {
	h := &nvmeHunt{t: t, c: c, started: time.Now()}
	defer h.stop()
	for {
		d, err := look(ctx, h)
		var missing *unsettled
		if !errors.As(err, &missing) {
			return d, err
		}
		if err := h.wait(ctx); err != nil {
			return Device{}, h.gaveUp(missing, err)
		}
	}
}

func (h *nvmeHunt) stop() {
	h.links.stop()
	if h.w != nil {
		h.w.close()
	}
}

// folders are those to watch. Udev says itself when it has made or removed a
// link, if we can hear it. What it does not say is that it has nothing more to
// do. Watching for nothing has a price: the kernel lets nobody close an inotify
// queue before a grace period of its own, which takes some 10 ms.
func (h *nvmeHunt) folders() []string {
	var all []string
	if !udevSpeaksHere(h.t.host) {
		byID := filepath.Dir(h.c.Path)
		all = append(all, h.t.host.Dev, filepath.Dir(byID), byID)
	}
	if h.udev.watching {
		all = append(all, filepath.Join(h.t.host.Run, "udev"), filepath.Join(h.t.host.Run, "udev/data"))
	}
	return all
}

// wait returns when there may be something new to see. When it has only just
// begun to listen there may be: what came since the last look made no sound.
// Mostly all is there at the first look, and nothing to be listened for.
func (h *nvmeHunt) wait(ctx context.Context) error {
	began := h.w == nil
	if began {
		w, err := newWakeups()
		if err != nil {
			return err
		}
		h.w = w
	}
	if more, err := h.w.watch(h.folders()...); err != nil || more || began {
		return err
	}
	select {
	case <-h.w.bell:
		return nil
	case r := <-h.links.results:
		h.links.note(r)
		return nil
	case err := <-h.w.broken:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (h *nvmeHunt) gaveUp(missing *unsettled, cause error) error {
	err := fmt.Errorf("waited %s: %w: %w", time.Since(h.started).Round(time.Millisecond), missing, cause)
	if missing.wrong {
		err = fmt.Errorf("%w: %w", ErrWrongDevice, err)
	}
	if trouble := h.links.trouble(h.view); trouble != "" {
		h.notes = append(h.notes, trouble)
	}
	if len(h.notes) > 0 {
		err = fmt.Errorf("%w; %s", err, strings.Join(h.notes, "; "))
	}
	return err
}

func (t nvme) attach(ctx context.Context, c Connection) (Device, error) {
	portals, err := t.checkReach(c)
	if err != nil {
		return Device{}, err
	}
	return t.hunt(ctx, c, func(ctx context.Context, h *nvmeHunt) (Device, error) {
		v, err := t.look(c)
		if err != nil {
			return Device{}, err
		}
		h.links.start(ctx, t, c.NVMe, portals, v)
		d, err := h.verified(ctx, v)
		if err != nil {
			if len(v.controllers) == 0 && h.links.hopeless() {
				return Device{}, h.links.failed(c.NVMe)
			}
			return Device{}, err
		}
		h.links.settle(ctx, t.grace)
		if !v.allLive() { // those may have been on their way
			if v, err = t.look(c); err != nil {
				return Device{}, err
			}
		}
		d.Warning = h.links.trouble(v)
		return d, nil
	})
}

// verified is the device if all is well; unsettled after doing what helps.
func (h *nvmeHunt) verified(ctx context.Context, v nvmeView) (Device, error) {
	h.see(v)
	mark := h.t.udevMark(v.withNGUID(h.c.Identity)) // before the link is looked at
	n, err := h.t.choose(v, h.c)
	var d Device
	if err == nil {
		d, err = h.device(ctx, n)
	}
	var nameless *noLink
	if errors.As(err, &nameless) {
		h.ahead.ask(ctx, h.t, nameless.namespace)
		return Device{}, h.udev.push(h.t, nameless.namespace, mark, h.c)
	}
	if len(v.withNGUID(h.c.Identity)) == 0 {
		if wrong := h.reused(ctx, v); wrong != nil {
			err = wrong
		}
		h.note(h.scans.ask(v))
		return Device{}, err
	}
	var missing *unsettled
	if errors.As(err, &missing) && missing.stale || errors.Is(err, ErrWrongDevice) {
		// Also where the answer is final: the kernel should know it, too.
		h.note(h.scans.ask(v))
	}
	return d, err
}

// device verifies a namespace, by what it said ahead if that is all right. What
// is wrong may be so no longer: it is asked again.
func (h *nvmeHunt) device(ctx context.Context, n nvmeNamespace) (Device, error) {
	if id, ok := h.ahead.said(n); ok {
		if d, err := h.t.judge(n, id, h.c); err == nil {
			return d, nil
		}
	}
	return h.t.verify(ctx, n, h.c)
}

// reused looks at the NSID that the array named, where the kernel knows
// another volume there. If the namespace itself says so, too, no waiting
// helps.
func (h *nvmeHunt) reused(ctx context.Context, v nvmeView) error {
	hint := h.c.NVMe.NSID
	i := slices.IndexFunc(v.namespaces, func(n nvmeNamespace) bool { return hint != 0 && n.nsid == hint })
	if i < 0 {
		return nil
	}
	n := v.namespaces[i]
	id, err := h.t.host.NVMe.Identify(ctx, n.node)
	switch {
	case err != nil:
		return h.t.identifyError(n, err)
	case id.NGUID == "" || id.NGUID == string(h.c.Identity):
		return nil
	}
	return h.t.swapped(n, id, h.c)
}

func (t nvme) grow(ctx context.Context, c Connection) (Device, error) {
	if err := t.check(c); err != nil {
		return Device{}, err
	}
	return t.hunt(ctx, c, func(ctx context.Context, h *nvmeHunt) (Device, error) {
		v, err := t.look(c)
		if err != nil {
			return Device{}, err
		}
		if len(v.withNGUID(c.Identity)) == 0 {
			return Device{}, fmt.Errorf("%w: subsystem %s shows this host no namespace with NGUID %s",
				ErrNotAttached, c.NVMe.SubsystemNQN, c.Identity)
		}
		return h.verified(ctx, v)
	})
}
