// Package metrics adds up what volbridge's processes measured, and tells it in
// the form of Prometheus. It is for the command alone: processes that measure use
// package spool, which costs them little.
package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/volbridge/volbridge/internal/lockfile"
	"github.com/volbridge/volbridge/internal/metrics/spool"
)

// Totals is everything that was measured on this host.
type Totals struct {
	Version int `json:"version"`
	// Folded is the number of the last batch that counts here.
	Folded     uint64   `json:"folded"`
	Dropped    uint64   `json:"dropped"`
	Unreadable uint64   `json:"unreadable"`
	Series     []Series `json:"series"`
}

// Series is the samples of one kind, origin and result.
type Series struct {
	Kind      spool.Kind `json:"kind"`
	Of        string     `json:"of,omitempty"`
	Result    string     `json:"result"`
	Count     uint64     `json:"count"`
	SumMicros uint64     `json:"sum_us"`
	// Buckets counts the samples up to each of Bounds, not those of the one
	// before.
	Buckets []uint64 `json:"buckets"`
}

// totalsVersion changes with Bounds and with the meaning of what is stored; then
// counting begins anew, which readers of counters are used to.
const totalsVersion = 1

// Bounds of the histograms, in seconds.
var Bounds = map[spool.Kind][]float64{
	spool.Call:      {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
	spool.Device:    {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
	spool.Migration: {1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400},
}

// maxOrigins of one kind are told apart; the samples of more are those of
// "other". Names of pools are what people make them.
const (
	maxOrigins = 64
	other      = "other"
)

// add counts one sample.
func (t *Totals) add(s spool.Sample) {
	at := t.series(s)
	at.Count++
	at.SumMicros += uint64(s.Took.Microseconds())
	for i, bound := range Bounds[s.Kind] {
		if s.Took.Seconds() <= bound {
			at.Buckets[i]++
			return
		}
	}
}

func (t *Totals) series(s spool.Sample) *Series {
	find := func(of string) int {
		return slices.IndexFunc(t.Series, func(x Series) bool { return x.Kind == s.Kind && x.Of == of && x.Result == s.Result })
	}
	i := find(s.Of)
	if i < 0 && t.crowded(s) {
		s.Of = other
		i = find(s.Of)
	}
	if i < 0 {
		t.Series = append(t.Series, Series{Kind: s.Kind, Of: s.Of, Result: s.Result, Buckets: make([]uint64, len(Bounds[s.Kind]))})
		i = len(t.Series) - 1
	}
	return &t.Series[i]
}

// crowded says whether a sample of an origin that is new would be one too many.
func (t *Totals) crowded(s spool.Sample) bool {
	seen := map[string]bool{}
	for _, x := range t.Series {
		if x.Kind == s.Kind {
			seen[x.Of] = true
		}
	}
	return !seen[s.Of] && len(seen) >= maxOrigins
}

// Fold adds what the processes of this host left to the totals in a file, and
// returns these. After a crash at any point no sample counts twice. warning says
// that the totals began anew, and why.
func Fold(ctx context.Context, path string, from spool.Spool) (t Totals, warning string, err error) {
	unlock, err := lockfile.Acquire(ctx, path+".lock")
	if err != nil {
		return t, "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	t, warning, err = read(path)
	if err != nil {
		return t, "", err
	}
	batches, err := from.Take(t.Folded)
	if err != nil {
		return t, warning, err
	}
	for _, b := range batches {
		for _, s := range b.Samples {
			t.add(s)
		}
		t.Dropped, t.Unreadable, t.Folded = t.Dropped+b.Dropped, t.Unreadable+b.Unreadable, b.Number
	}
	if err := write(path, t); err != nil {
		return t, warning, fmt.Errorf("keep the totals of metrics: %w", err)
	}
	for _, b := range batches {
		if err := from.Forget(b.Number); err != nil {
			return t, warning, err // the next Fold knows that it counts already
		}
	}
	return t, warning, nil
}

// read returns the totals; those that cannot be used begin anew.
func read(path string) (Totals, string, error) {
	fresh := Totals{Version: totalsVersion}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, "", nil
	}
	if err != nil {
		return fresh, "", fmt.Errorf("read the totals of metrics: %w", err)
	}
	t, err := parseTotals(text)
	if err != nil {
		return fresh, fmt.Sprintf("the totals of metrics in %s begin anew: %v", path, err), nil
	}
	return t, "", nil
}

func parseTotals(text []byte) (Totals, error) {
	var t Totals
	if err := json.Unmarshal(text, &t); err != nil {
		return t, err
	}
	if t.Version != totalsVersion {
		return t, fmt.Errorf("they have version %d, this program knows %d", t.Version, totalsVersion)
	}
	for _, s := range t.Series {
		var inBuckets uint64
		for _, n := range s.Buckets {
			inBuckets += n
		}
		if !slices.Contains(spool.Results[s.Kind], s.Result) || len(s.Buckets) != len(Bounds[s.Kind]) || inBuckets > s.Count {
			return t, errors.New("they are damaged")
		}
	}
	return t, nil
}

func write(path string, t Totals) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	fresh := path + ".new" // its name is free: we have the lock
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Sum is the time of all samples.
func (s Series) Sum() time.Duration { return time.Duration(s.SumMicros) * time.Microsecond }
