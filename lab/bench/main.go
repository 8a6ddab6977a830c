// Command bench measures what volbridge costs, each figure as a ratio against
// a reference of the same run on the same machine. It needs root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"
)

// row is one measured ratio.
type row struct {
	what      string
	value     string // what was measured
	reference string // against what
	ratio     float64
	goal      float64 // 0: none
}

func (r row) String() string {
	verdict := ""
	switch {
	case r.goal == 0:
	case r.ratio <= r.goal:
		verdict = fmt.Sprintf("  goal ≤ %.2f: met", r.goal)
	default:
		verdict = fmt.Sprintf("  goal ≤ %.2f: MISSED", r.goal)
	}
	return fmt.Sprintf("%s\n    %s against %s: %.2f×%s", r.what, r.value, r.reference, r.ratio, verdict)
}

func main() {
	inside := flag.String("inside", "", "measure this on the host that it runs on (used by the bench itself)")
	only := flag.String("only", "", "hook, prepare, migrate or rewrite")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	if err := run(ctx, *inside, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, inside, only string) error {
	if inside != "" {
		return measureInside(ctx, inside)
	}
	if os.Geteuid() != 0 {
		return errors.New("run it as root: it makes namespaces and loop devices")
	}
	for _, b := range []struct {
		name string
		run  func(context.Context) ([]row, error)
	}{
		{"hook", benchHook}, {"prepare", benchPrepare}, {"migrate", benchMigrate}, {"rewrite", benchRewrite},
	} {
		if only != "" && only != b.name {
			continue
		}
		rows, err := b.run(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		for _, r := range rows {
			fmt.Println(r)
		}
	}
	return nil
}

// median of some durations.
func median(d []time.Duration) time.Duration {
	sort.Slice(d, func(i, j int) bool { return d[i] < d[j] })
	return d[len(d)/2]
}

func millis(d time.Duration) string {
	return strings.TrimSuffix(fmt.Sprintf("%.2f", float64(d.Microseconds())/1000), ".00") + " ms"
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }
