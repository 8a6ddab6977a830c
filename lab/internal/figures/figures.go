// Package figures prints what was measured as ratios against references of the
// same run: a figure alone says more about the machine than about the program.
package figures

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Row is one measured ratio.
type Row struct {
	What      string
	Value     string // what was measured
	Reference string // against what
	Ratio     float64
	Goal      float64 // the ratio that it may have at most, 0: none
}

func (r Row) String() string {
	verdict := ""
	switch {
	case r.Goal == 0:
	case r.Ratio <= r.Goal:
		verdict = fmt.Sprintf("  goal ≤ %.2f: met", r.Goal)
	default:
		verdict = fmt.Sprintf("  goal ≤ %.2f: MISSED", r.Goal)
	}
	return fmt.Sprintf("%s\n    %s against %s: %.2f×%s", r.What, r.Value, r.Reference, r.Ratio, verdict)
}

// Times is the row of two durations.
func Times(what string, value time.Duration, reference string, against time.Duration, goal float64) Row {
	return Row{What: what, Value: Millis(value), Reference: reference + ", " + Millis(against), Ratio: Ratio(value, against), Goal: goal}
}

// Median of some durations.
func Median(d []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)/2]
}

// Millis writes a duration in milliseconds.
func Millis(d time.Duration) string {
	return strings.TrimSuffix(fmt.Sprintf("%.2f", float64(d.Microseconds())/1000), ".00") + " ms"
}

// Spread writes the median of some durations, the quarters around it, and the
// ends.
func Spread(d []time.Duration) string {
	sorted := slices.Sorted(slices.Values(d))
	n := len(sorted)
	ms := func(i int) string { return fmt.Sprintf("%.1f", float64(sorted[i].Microseconds())/1000) }
	return fmt.Sprintf("median %s ms, half of them %s to %s, all %s to %s (%d runs)",
		ms(n/2), ms(n/4), ms(3*n/4), ms(0), ms(n-1), n)
}

// Ratio of two durations.
func Ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }
