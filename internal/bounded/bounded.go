// Package bounded keeps a promise that the kernel does not: that a call
// returns when its context ends. A system call on a file server that does not
// answer cannot be interrupted.
package bounded

import (
	"context"
	"fmt"
	"time"
)

// Grace is how long Do waits, after ctx ended, for f to undo what it began.
const Grace = 2 * time.Second

// Do runs f and returns what it returns. f must look at ctx between its steps
// and clean up when it ended. If f is still stuck Grace after the end of ctx,
// Do gives up on it and returns an error that wraps the cause; what f was
// doing may then still happen, so the result is unclear. A ctx that has ended
// before the call runs nothing at all.
func Do[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	var zero T
	if ctx.Err() != nil {
		return zero, context.Cause(ctx)
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f(ctx)
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
	}
	patience := time.NewTimer(Grace)
	defer patience.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-patience.C:
		return zero, fmt.Errorf("the system does not answer (a file server or a disk hangs), and the call may still take effect: %w",
			context.Cause(ctx))
	}
}

// Run is Do for a function without a result.
func Run(ctx context.Context, f func(context.Context) error) error {
	_, err := Do(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}
