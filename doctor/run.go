package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// The whole run ends within five seconds: each check in checkTime, and what
// several checks ask in askTime, so that the one that answers for it can say
// what did not answer and the others are skipped.
const (
	checkTime = 4 * time.Second
	askTime   = 3 * time.Second
)

func noAnswerWithin(limit time.Duration) error {
	return fmt.Errorf("no answer within %s: %w", limit, context.DeadlineExceeded)
}

// Result is what one check found.
type Result struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Level Level  `json:"level"` // the worst of the findings
	// Findings are what is not right, or why the check was skipped.
	Findings []Finding     `json:"findings"`
	Took     time.Duration `json:"-"`
}

// Run runs the checks side by side and returns their results in their order.
func Run(ctx context.Context, e *Env, checks []Check) []Result {
	results := make([]Result, len(checks))
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() { results[i] = run(ctx, e, c) })
	}
	all.Wait()
	return results
}

func run(ctx context.Context, e *Env, c Check) Result {
	began := time.Now()
	w := &waits{}
	ctx, cancel := context.WithTimeoutCause(context.WithValue(ctx, waitsKey{}, w), checkTime, noAnswerWithin(checkTime))
	defer cancel()
	findings, err := within(ctx, func(ctx context.Context) ([]Finding, error) { return guarded(ctx, e, c) })
	if err != nil {
		findings = []Finding{unfinished(c, w, err)}
	}
	r := Result{ID: c.ID, Title: c.Title, Findings: found(findings...), Took: time.Since(began)}
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	for _, f := range r.Findings {
		r.Level = max(r.Level, f.Level)
	}
	return r
}

// guarded makes a finding of a panic: the other checks have something to say.
func guarded(ctx context.Context, e *Env, c Check) (findings []Finding, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error, please report it: %v", p)
		}
	}()
	return c.Run(ctx, e), nil
}

func unfinished(c Check, w *waits, err error) Finding {
	seen := fmt.Sprintf("check %s did not end: %v", c.ID, err)
	if what := w.open(); what != "" {
		seen = fmt.Sprintf("check %s did not end, it waited for %s: %v", c.ID, what, err)
	}
	f := Finding{Level: Fail, Seen: seen}
	if errors.Is(err, context.DeadlineExceeded) {
		f.Remedy = "see why that does not answer, then run the check alone: volbridge doctor --only " + c.ID
	}
	return f
}

// waits are what a check waits for just now.
type waits struct {
	mu   sync.Mutex
	what []string
}

type waitsKey struct{}

// waiting notes what the check of this context waits for, until done is called.
func waiting(ctx context.Context, what string) (done func()) {
	w, ok := ctx.Value(waitsKey{}).(*waits)
	if !ok {
		return func() {}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.what = append(w.what, what)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for i, have := range w.what {
			if have == what {
				w.what = append(w.what[:i], w.what[i+1:]...)
				return
			}
		}
	}
}

func (w *waits) open() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.what, " and ")
}
