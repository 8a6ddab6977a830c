package blockdev

import (
	"context"
	"errors"
	"time"
)

// awaitIdle returns nil when look (busy or busyButUdev) finds nobody who has the
// node open, after waiting a little for those who are about to close it.
func awaitIdle(ctx context.Context, h Host, node string, patience time.Duration, look func(Host, string) error) error {
	return awaitClose(ctx, node, patience, func() (bool, error) {
		err := look(h, node)
		var b *busyError
		return errors.As(err, &b) && b.passing, err
	})
}

// awaitClose calls look, now and whenever somebody closes the node, until it
// says that waiting is pointless, or patience or ctx ends. It returns look's
// last error.
func awaitClose(ctx context.Context, node string, patience time.Duration, look func() (again bool, err error)) error {
	again, err := look()
	if !again {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w, werr := newWatcher()
	if werr != nil {
		return errors.Join(err, werr)
	}
	defer w.close()
	if werr := w.add(node, closing); werr != nil {
		return errors.Join(err, werr)
	}
	for {
		if again, err = look(); !again {
			return err
		}
		if w.next(ctx) != nil {
			_, err = look()
			return err
		}
	}
}
