package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/volbridge/volbridge/lab/machines"
)

// What a kernel tells of.
const (
	netOptions = "drbd_net_options"
	qemuStart  = "sched_process_exec"
	qemuEnd    = "sched_process_exit"
)

// traced is something that a machine's kernel wrote down, at a time of this
// machine's clock.
type traced struct {
	what string
	at   time.Time
}

// readTrace reads what a machine's kernel wrote down since traceScript.
func readTrace(ctx context.Context, h *machines.Node) ([]traced, error) {
	offset, err := clockOffset(ctx, h)
	if err != nil {
		return nil, err
	}
	out, err := h.Run(ctx, "cat", "/sys/kernel/tracing/trace")
	if err != nil {
		return nil, err
	}
	events, err := parseTrace(out)
	for i := range events {
		events[i].at = events[i].at.Add(-offset)
	}
	return events, err
}

// traceLine: "  drbdsetup-84-1234  [000] .....  1700000000.123456: drbd_net_options: …"
var traceLine = regexp.MustCompile(`^.*\s([0-9]+)\.([0-9]{6}): ([a-z_]+): `)

func parseTrace(text string) (events []traced, err error) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		m := traceLine.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("the kernel's trace has the line %q", line)
		}
		seconds, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return nil, err
		}
		micros, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil {
			return nil, err
		}
		events = append(events, traced{m[3], time.Unix(seconds, micros*1000)})
	}
	return events, nil
}

// clockOffset is how far a machine's clock is ahead of this machine's: the one
// of several looks that took the least time.
func clockOffset(ctx context.Context, h *machines.Node) (offset time.Duration, err error) {
	const looks = 5
	best := time.Duration(-1)
	for range looks {
		before := time.Now()
		out, err := h.Run(ctx, "date", "+%s%N")
		took := time.Since(before)
		if err != nil {
			return 0, err
		}
		ns, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
		if err != nil {
			return 0, err
		}
		if best < 0 || took < best {
			best, offset = took, time.Unix(0, ns).Sub(before.Add(took/2))
		}
	}
	return offset, nil
}
