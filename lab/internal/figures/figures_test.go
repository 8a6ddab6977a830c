package figures

import (
	"strings"
	"testing"
	"time"
)

func TestRow(t *testing.T) {
	for _, c := range []struct {
		ratio, goal float64
		want        string
	}{
		{1.1, 1.2, "1.10×  goal ≤ 1.20: met"},
		{1.3, 1.2, "1.30×  goal ≤ 1.20: MISSED"},
		{1.3, 0, "1.30×"},
	} {
		if got := (Row{What: "a", Value: "b", Reference: "c", Ratio: c.ratio, Goal: c.goal}).String(); !strings.HasSuffix(got, "b against c: "+c.want) {
			t.Errorf("ratio %v, goal %v: %q does not end in %q", c.ratio, c.goal, got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	d := []time.Duration{5, 1, 3}
	if got := Median(d); got != 3 {
		t.Errorf("median %v, want 3ns", got)
	}
	if d[0] != 5 {
		t.Error("Median sorted the caller's durations")
	}
}

func TestWords(t *testing.T) {
	d := []time.Duration{4 * time.Millisecond, time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond}
	if got, want := Spread(d), "median 3.0 ms, half of them 2.0 to 4.0, all 1.0 to 4.0 (4 runs)"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got, want := Millis(1500*time.Microsecond), "1.50 ms"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
