package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var sample = Sample{Kind: Call, Of: "flash", Result: "ok", Took: 1500 * time.Microsecond}

func TestLine(t *testing.T) {
	if got := sample.Line(); got != "1 call flash ok 1500\n" {
		t.Errorf("%q", got)
	}
	for _, s := range []Sample{sample, {Kind: Migration, Result: "undone", Took: time.Hour}, {Kind: Device, Of: "nvme-tcp", Result: "failed"}} {
		if got, err := Parse(strings.TrimSuffix(s.Line(), "\n")); err != nil || got != s {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for _, line := range []string{
		"", "1", "2 call flash ok 1", "1 call flash ok", "1 call flash ok -1", "1 call flash ok 1.5", "1 call flash good 1", "1 cell flash ok 1",
		"1 call fl{sh ok 1", "1 call " + strings.Repeat("x", 41) + " ok 1", "1 call flash ok 99999999999999999", "1 call flash ok 1 ", "1  call ok 1",
	} {
		if s, err := Parse(line); err == nil {
			t.Errorf("%q is taken: %+v", line, s)
		}
	}
}

// FuzzParse: what is taken is one of the few series that there may be, and is
// written as it was read.
func FuzzParse(f *testing.F) {
	f.Add("1 call flash ok 1500")
	f.Add("1 migration - undone 0")
	f.Fuzz(func(t *testing.T, line string) {
		s, err := Parse(line)
		if err != nil {
			return
		}
		again, err := Parse(strings.TrimSuffix(s.Line(), "\n"))
		if err != nil || again != s || s.Took < 0 || strings.ContainsAny(s.Of, "\"\\\n{} ") {
			t.Errorf("%q: %+v, then %+v, %v", line, s, again, err)
		}
	})
}

func take(t *testing.T, s Spool, after uint64) []Batch {
	t.Helper()
	list, err := s.Take(after)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// What is taken is there again until it is forgotten, and counts once.
func TestTake(t *testing.T) {
	s := Spool{Dir: filepath.Join(t.TempDir(), "run")}
	s.Add(sample)
	s.Add(Sample{Kind: Call, Of: "a b", Result: "ok"}) // nobody calls a pool so
	first := Batch{Number: 8, Samples: []Sample{sample}, Unreadable: 1}
	if d := cmp.Diff([]Batch{first}, take(t, s, 7)); d != "" {
		t.Error(d)
	}
	s.Add(sample)
	second := Batch{Number: 9, Samples: []Sample{sample}}
	if d := cmp.Diff([]Batch{first, second}, take(t, s, 7)); d != "" {
		t.Errorf("after a crash: %s", d)
	}
	if d := cmp.Diff([]Batch{second, {Number: 10}}, take(t, s, 8)); d != "" {
		t.Errorf("where the first counts already: %s", d)
	}
	if err := s.Forget(9); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Batch{{Number: 10}}, take(t, s, 9)); d != "" {
		t.Error(d)
	}
	if left, _ := os.ReadDir(s.Dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

// What has no room is dropped, and counted.
func TestDrop(t *testing.T) {
	s := Spool{Dir: t.TempDir()}
	line := sample.Line()
	full := strings.Repeat(line, maxBytes/len(line))
	if err := os.WriteFile(filepath.Join(s.Dir, fileName), []byte(full), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.Add(sample)
	}
	got := take(t, s, 0)
	if len(got) != 1 || got[0].Dropped != 3 || len(got[0].Samples) != maxBytes/len(line) || got[0].Unreadable != 0 {
		t.Errorf("dropped %d, %d samples", got[0].Dropped, len(got[0].Samples))
	}
	info, err := os.Stat(filepath.Join(s.Dir, fileName+".1"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
}

// A place that cannot be written harms nobody.
func TestAddThatFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/null", filepath.Join(dir, fileName)); err != nil {
		t.Fatal(err)
	}
	Spool{Dir: dir}.Add(sample)
	Spool{Dir: "/proc/none"}.Add(sample)
}

// Lines of many at once do not mix, and none is counted twice while others write.
func TestManyAtOnce(t *testing.T) {
	s := Spool{Dir: t.TempDir()}
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for range 500 {
				s.Add(Sample{Kind: Call, Of: fmt.Sprintf("p%d", n), Result: "ok", Took: time.Second})
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	samples, last := 0, uint64(0)
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		for _, b := range take(t, s, last) {
			samples, last = samples+len(b.Samples), b.Number
			if b.Unreadable > 0 || b.Dropped > 0 {
				t.Errorf("%+v", b)
			}
		}
	}
	// Those that were being written while they were set aside may be lost.
	if samples > 4000 || samples < 3500 {
		t.Errorf("%d samples of 4000", samples)
	}
}

func BenchmarkAdd(b *testing.B) {
	s := Spool{Dir: b.TempDir()}
	for b.Loop() {
		s.Add(sample)
	}
}
