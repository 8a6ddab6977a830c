package bounded

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestResultIsPassedOn(t *testing.T) {
	oops := errors.New("oops")
	v, err := Do(t.Context(), func(context.Context) (int, error) { return 7, oops })
	if v != 7 || err != oops {
		t.Errorf("got %d, %v", v, err)
	}
}

func TestEndedContextRunsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ran := false
	err := Run(ctx, func(context.Context) error { ran = true; return nil })
	if ran || !errors.Is(err, context.Canceled) {
		t.Errorf("ran: %v, error: %v", ran, err)
	}
}

// A call that undoes its work after the end of ctx is waited for; one that
// hangs is not.
func TestEndOfContext(t *testing.T) {
	undone := errors.New("undone")
	for _, c := range []struct {
		name    string
		undoing time.Duration
		want    error
	}{
		{"undoes quickly", Grace / 2, undone},
		{"hangs", 10 * Grace, context.DeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				started, finished := time.Now(), make(chan struct{})
				err := Run(ctx, func(ctx context.Context) error {
					defer close(finished)
					<-ctx.Done()
					<-time.After(c.undoing)
					return undone
				})
				if !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				if took := time.Since(started); took > time.Second+Grace {
					t.Errorf("took %v", took)
				}
				<-finished
			})
		})
	}
}
