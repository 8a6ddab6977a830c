package blockdev

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// detach takes away every device of the connection, and then the link if it
// leads nowhere or elsewhere. It goes by the marks alone and needs neither the
// raw file nor the pool. A device that the link leads to, but that is not
// ours, is not touched.
func (t loop) detach(ctx context.Context, c Connection) error {
	if err := t.check(c); err != nil {
		return err
	}
	for {
		devices, err := t.ours(c)
		if err != nil {
			return err
		}
		if len(devices) == 0 {
			return dropLink(c.Path)
		}
		for _, s := range devices {
			if err := t.unbind(ctx, c, s); err != nil {
				return err
			}
		}
	}
}

// unbind flushes one device and unbinds it. The link goes first: were it last,
// a crash in between could leave it leading to a device that the kernel has
// since given to somebody else. Without the link the next call finds the
// device by its mark.
func (t loop) unbind(ctx context.Context, c Connection, s loopState) error {
	if err := awaitIdle(ctx, t.host, s.node, t.patience, busy); err != nil {
		return err
	}
	if err := t.flush(s.node); err != nil {
		return fmt.Errorf("flush %s, which stays attached so that no data is lost: %w", s.node, err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := dropLink(c.Path); err != nil {
		return err
	}
	if err := t.clear(ctx, s.node, mark(c)); err != nil {
		return errors.Join(err, makeLink(c.Path, s.node))
	}
	return nil
}

// clear unbinds the node. If somebody opened it since it was seen idle, the
// kernel unbinds it only when the last one closes it; if that does not happen
// soon the request is taken back, so that the device does not vanish later
// behind everybody's back, and ErrInUse is returned.
func (t loop) clear(ctx context.Context, node, wanted string) error {
	if err := t.requestClear(node, wanted); err != nil {
		return err
	}
	err := awaitClose(ctx, node, t.patience, func() (bool, error) {
		if t.backing(node) == "" {
			return false, nil
		}
		// Bound still, or bound again by somebody else.
		s, err := readLoop(node)
		if errors.Is(err, ErrNotAttached) || err == nil && s.mark() != wanted {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		return true, &busyError{node: node, by: t.whoHas(node), passing: true}
	})
	if !errors.Is(err, ErrInUse) {
		return err
	}
	if kept := t.keep(node, wanted); errors.Is(kept, ErrNotAttached) {
		return nil
	} else if kept != nil {
		return errors.Join(err, kept)
	}
	return err
}

func (t loop) whoHas(node string) string {
	var b *busyError
	if errors.As(busy(t.host, node), &b) {
		return b.by
	}
	return "somebody who opened it just now"
}

// requestClear asks the kernel to unbind the node, if it is still the device
// with that mark.
func (t loop) requestClear(node, wanted string) error {
	f, s, err := openMarked(node, wanted)
	if errors.Is(err, ErrNotAttached) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0); err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("unbind %s: %w", s.node, err)
	}
	return nil
}

// keep takes a pending unbinding back. ErrNotAttached: too late, it is done.
func (t loop) keep(node, wanted string) error {
	f, s, err := openMarked(node, wanted)
	if err != nil {
		return err
	}
	defer f.Close()
	switch err := dropAutoclear(f, s); {
	case errors.Is(err, unix.ENXIO):
		return ErrNotAttached
	case err != nil:
		return fmt.Errorf("keep %s: %w", node, err)
	}
	return nil
}

// openMarked opens the node if it carries the mark, else ErrNotAttached. While
// the file is open the device cannot become another one.
func openMarked(node, wanted string) (*os.File, loopState, error) {
	f, err := os.OpenFile(node, os.O_RDONLY, 0)
	if errors.Is(err, unix.ENXIO) {
		return nil, loopState{}, ErrNotAttached // the kernel is unbinding it
	}
	if err != nil {
		return nil, loopState{}, err
	}
	s, err := loopStateOf(f)
	if err == nil && s.mark() != wanted {
		err = ErrNotAttached
	}
	if err != nil {
		f.Close()
		return nil, loopState{}, err
	}
	return f, s, nil
}
