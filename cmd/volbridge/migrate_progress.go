package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/migrate"
)

// lineEvery is how many percent a copy has to move before a new line says so,
// where there is no terminal to draw bars on.
const lineEvery = 10

// progressLines tells of a migration in lines, for logs and pipes.
type progressLines struct {
	out  io.Writer
	said map[string]int64 // disk or "memory" → the last percentage said
}

func newProgressLines(out io.Writer) *progressLines {
	return &progressLines{out: out, said: map[string]int64{}}
}

func (l *progressLines) Planned(migrate.Plan) {}
func (l *progressLines) Step(text string)     { fmt.Fprintln(l.out, text) }
func (l *progressLines) Warn(text string)     { fmt.Fprintln(l.out, "warning:", text) }

func (l *progressLines) Progress(p migrate.Progress) {
	for _, d := range p.Disks {
		l.say("disk "+d.Target, d.DoneBytes, d.TotalBytes)
	}
	l.say("memory", p.MemoryAllBytes-p.MemoryLeftBytes, p.MemoryAllBytes)
}

func (l *progressLines) say(what string, done, total int64) {
	if total <= 0 {
		return
	}
	percent := done * 100 / total
	last, said := l.said[what]
	if said && percent < last+lineEvery && (percent < 100 || last == 100) {
		return
	}
	l.said[what] = percent
	fmt.Fprintf(l.out, "%s: %d%% (%s of %s)\n", what, percent, units.RoughSize(done), units.RoughSize(total))
}

// progressBars draws a bar per disk and one for memory on a terminal.
type progressBars struct {
	mu       sync.Mutex
	out      io.Writer
	progress *mpb.Progress
	bars     map[string]*mpb.Bar
}

func newProgressBars(out io.Writer) *progressBars {
	return &progressBars{out: out, bars: map[string]*mpb.Bar{}}
}

func (b *progressBars) Planned(migrate.Plan) {}

func (b *progressBars) Step(text string) { b.print(text) }
func (b *progressBars) Warn(text string) { b.print("warning: " + text) }

// print writes a line above the bars.
func (b *progressBars) print(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var w io.Writer = b.out
	if b.progress != nil {
		w = b.progress
	}
	fmt.Fprintln(w, text)
}

func (b *progressBars) Progress(p migrate.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.progress == nil {
		b.progress = mpb.New(mpb.WithOutput(b.out), mpb.WithWidth(40))
	}
	for _, d := range p.Disks {
		b.set("disk "+d.Target, d.DoneBytes, d.TotalBytes)
	}
	b.set("memory", p.MemoryAllBytes-p.MemoryLeftBytes, p.MemoryAllBytes)
}

func (b *progressBars) set(name string, done, total int64) {
	if total <= 0 {
		return
	}
	bar, ok := b.bars[name]
	if !ok {
		var err error
		bar, err = b.progress.Add(total, mpb.BarStyle().Build(),
			mpb.PrependDecorators(decor.Name(name, decor.WCSyncSpaceR), decor.Any(counters, decor.WCSyncSpace)),
			mpb.AppendDecorators(decor.Percentage(decor.WCSyncSpace), decor.Any(timeLeft(), decor.WCSyncSpace)))
		if err != nil {
			return // the terminal is gone, and nothing is drawn any more
		}
		b.bars[name] = bar
	}
	bar.SetTotal(total, false) // memory and busy disks grow while they move
	bar.SetCurrent(done)
}

func counters(s decor.Statistics) string {
	return units.RoughSize(s.Current) + " of " + units.RoughSize(s.Total)
}

// timeLeft is how long the rest takes if it goes on as it went so far.
func timeLeft() decor.DecorFunc {
	began := time.Now()
	return func(s decor.Statistics) string {
		if s.Current <= 0 || s.Current >= s.Total {
			return ""
		}
		left := float64(time.Since(began)) * float64(s.Total-s.Current) / float64(s.Current)
		return time.Duration(left).Round(time.Second).String() + " left"
	}
}

// close leaves the bars as they stand and gives the terminal back.
func (b *progressBars) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.progress == nil {
		return
	}
	for _, bar := range b.bars {
		bar.Abort(false)
	}
	b.progress.Wait()
	b.progress = nil
}
