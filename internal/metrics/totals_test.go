package metrics

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/volbridge/volbridge/internal/metrics/spool"
)

func fold(t *testing.T, path string, s spool.Spool) (Totals, string) {
	t.Helper()
	got, warning, err := Fold(t.Context(), path, s)
	if err != nil {
		t.Fatal(err)
	}
	return got, warning
}

func TestFold(t *testing.T) {
	dir := t.TempDir()
	path, s := filepath.Join(dir, "state", "metrics.json"), spool.Spool{Dir: filepath.Join(dir, "run")}
	for _, took := range []time.Duration{time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, time.Minute} {
		s.Add(spool.Sample{Kind: spool.Call, Of: "flash", Result: "ok", Took: took})
	}
	want := Totals{Version: 1, Folded: 1, Series: []Series{{
		Kind: spool.Call, Of: "flash", Result: "ok", Count: 4, SumMicros: 60_026_000,
		Buckets: []uint64{2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	}}}
	if got, _ := fold(t, path, s); cmp.Diff(want, got) != "" {
		t.Error(cmp.Diff(want, got))
	}
	want.Folded++
	if got, _ := fold(t, path, s); cmp.Diff(want, got) != "" {
		t.Errorf("nothing is counted twice: %s", cmp.Diff(want, got))
	}
	s.Add(spool.Sample{Kind: spool.Migration, Result: "done", Took: 7 * time.Second})
	if got, _ := fold(t, path, s); len(got.Series) != 2 || got.Series[1].Buckets[3] != 1 {
		t.Errorf("%+v", got)
	}
}

// After a crash between any two steps each sample counts once.
func TestFoldAfterACrash(t *testing.T) {
	dir := t.TempDir()
	path, s := filepath.Join(dir, "metrics.json"), spool.Spool{Dir: dir}
	one := spool.Sample{Kind: spool.Device, Of: "loop", Result: "ok", Took: time.Second}
	s.Add(one)
	if _, err := s.Take(0); err != nil { // and no more
		t.Fatal(err)
	}
	s.Add(one)
	if got, _ := fold(t, path, s); got.Series[0].Count != 2 || got.Folded != 2 {
		t.Errorf("set aside only: %+v", got)
	}
	s.Add(one)
	if _, err := s.Take(2); err != nil {
		t.Fatal(err)
	}
	totals, _, err := read(path)
	if err != nil {
		t.Fatal(err)
	}
	totals.add(one)
	totals.Folded = 3
	if err := write(path, totals); err != nil { // and not forgotten
		t.Fatal(err)
	}
	if got, _ := fold(t, path, s); got.Series[0].Count != 3 {
		t.Errorf("added up, not forgotten: %+v", got)
	}
}

// Totals that cannot be used begin anew, and it is said.
func TestDamagedTotals(t *testing.T) {
	for _, text := range []string{"", "{", "[]", `{"version":2}`, `{"version":1,"series":[{"kind":"call","result":"x"}]}`,
		`{"version":1,"series":[{"kind":"migration","result":"done","count":1,"buckets":[2,0,0,0,0,0,0,0,0,0,0,0]}]}`} {
		dir := t.TempDir()
		path := filepath.Join(dir, "metrics.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, warning := fold(t, path, spool.Spool{Dir: dir})
		if !strings.Contains(warning, "begin anew") || len(got.Series) != 0 {
			t.Errorf("%q: %+v, %q", text, got, warning)
		}
		if _, warning := fold(t, path, spool.Spool{Dir: dir}); warning != "" {
			t.Errorf("%q: and then: %s", text, warning)
		}
	}
}

// However many pools there were, the number of series has an end.
func TestOriginsAreBounded(t *testing.T) {
	var totals Totals
	for n := range 200 {
		for _, result := range []string{"ok", "busy"} {
			totals.add(spool.Sample{Kind: spool.Call, Of: fmt.Sprintf("p%d", n), Result: result})
		}
	}
	totals.add(spool.Sample{Kind: spool.Call, Of: "p1", Result: "denied"})
	if got := len(totals.Series); got != 2*maxOrigins+2+1 {
		t.Errorf("%d series", got)
	}
}

// FuzzTotals: no file of totals breaks what is told of it.
func FuzzTotals(f *testing.F) {
	f.Add([]byte(`{"version":1,"folded":3,"series":[{"kind":"call","of":"flash","result":"ok","count":4,"sum_us":9,"buckets":[1,0,0,0,0,0,0,0,0,0,0,0]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		totals, err := parseTotals(text)
		if err != nil {
			return
		}
		if _, err := Text(Host{}, totals); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	})
}
