package main

import (
	"testing"
	"time"
)

func TestLongest(t *testing.T) {
	zero := time.Unix(1000, 0)
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	// Two hosts' ticks may be noted in any order.
	c := &tickClock{at: []time.Time{at(0), at(400), at(500), at(1300), at(600), at(1400), at(2400)}}
	for _, test := range []struct {
		name       string
		start, end int
		want       time.Duration
	}{
		{"a pause within", 550, 1350, 700 * time.Millisecond},
		{"a pause that began before", 700, 1350, 700 * time.Millisecond},
		{"a pause that ended after", 550, 800, 700 * time.Millisecond},
		{"before and after do not count", 450, 550, 100 * time.Millisecond},
		{"all", -1, 3000, 1000 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := c.longest(at(test.start), at(test.end)); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
