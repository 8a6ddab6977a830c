package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	boot1 = "11111111-boot"
	boot2 = "22222222-boot"
)

func statePath(t testing.TB) string { return filepath.Join(t.TempDir(), "volbridge", "state.db") }

func open(t testing.TB, path, bootID string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path, bootID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func attachment(domain, volume, mode string) Attachment {
	return Attachment{
		DomainUUID: domain + "-uuid", DomainName: domain, Target: "vda",
		Pool: "fast", Volume: volume, Mode: mode,
	}
}

func claim(t testing.TB, s *Store, a Attachment) Attachment {
	t.Helper()
	got, had, err := s.Claim(t.Context(), a)
	if err != nil || had {
		t.Fatalf("Claim(%s) = had %v, %v; want a new record", a.Volume, had, err)
	}
	return got
}

func TestClaim(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second Attachment
		busy, had     bool
	}{
		{"other volume", attachment("web", "a", "exclusive"), attachment("db", "b", "exclusive"), false, false},
		{"other domain", attachment("web", "a", "exclusive"), attachment("db", "a", "exclusive"), true, false},
		{"other domain, handover", attachment("web", "a", "exclusive"), attachment("db", "a", "handover"), true, false},
		{"same domain", attachment("web", "a", "exclusive"), attachment("web", "a", "handover"), false, true},
		{"both multi", attachment("web", "a", "multi"), attachment("db", "a", "multi"), false, false},
		{"first multi", attachment("web", "a", "multi"), attachment("db", "a", "exclusive"), true, false},
		{"second multi", attachment("web", "a", "exclusive"), attachment("db", "a", "multi"), true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, statePath(t), boot1)
			first := claim(t, s, c.first)
			got, had, err := s.Claim(t.Context(), c.second)
			var busy *BusyError
			if errors.As(err, &busy) != c.busy || errors.Is(err, ErrVolumeBusy) != c.busy || (!c.busy && err != nil) {
				t.Fatalf("err = %v, want busy %v", err, c.busy)
			}
			if c.busy && (busy.DomainName != c.first.DomainName || busy.Volume != c.first.Volume || busy.Stale) {
				t.Errorf("busy = %+v, want it to name %s", busy, c.first.DomainName)
			}
			if had != c.had {
				t.Errorf("had = %v, want %v", had, c.had)
			}
			if c.had {
				if d := cmp.Diff(first, got); d != "" {
					t.Errorf("existing record (-want +got):\n%s", d)
				}
			}
			want := 2
			if c.busy || c.had {
				want = 1
			}
			if all, err := s.All(t.Context()); err != nil || len(all) != want {
				t.Errorf("All = %d records, %v; want %d", len(all), err, want)
			}
		})
	}
}

func TestAttachmentLife(t *testing.T) {
	path := statePath(t)
	s := open(t, path, boot1)
	now := time.Unix(1_700_000_000, 123)
	s.now = func() time.Time { return now }
	a := claim(t, s, attachment("web", "a", "handover"))
	if a.Phase != Attaching || a.BootID != boot1 || !a.Updated.Equal(now) {
		t.Errorf("claimed = %+v", a)
	}
	now = now.Add(time.Minute)
	a.Phase, a.Path, a.Arrival = Pending, "/dev/volbridge/fast/a", "token"
	check(t, s.Update(t.Context(), a))
	a.Updated = now
	same(t, s, a)

	// The next boot's process sees that the record is not of its boot, and
	// what it writes is.
	next := open(t, path, boot2)
	next.now = s.now
	same(t, next, a)
	if !next.Stale(a.BootID) || s.Stale(a.BootID) {
		t.Error("a record of the boot before must be stale, one of this boot must not")
	}
	a.Phase, a.Arrival, a.Mode, a.Target = Held, "", "exclusive", "vdb"
	check(t, next.Update(t.Context(), a))
	a.BootID = boot2
	same(t, next, a)

	check(t, s.Forget(t.Context(), a.Key()))
	check(t, s.Forget(t.Context(), a.Key()))
	same(t, s)
	if err := s.Update(t.Context(), a); !errors.Is(err, ErrNoRecord) {
		t.Errorf("update of a forgotten record: %v, want ErrNoRecord", err)
	}
}

func TestBusySinceBeforeBoot(t *testing.T) {
	path := statePath(t)
	claim(t, open(t, path, boot1), attachment("web", "a", "exclusive"))
	_, _, err := open(t, path, boot2).Claim(t.Context(), attachment("db", "a", "exclusive"))
	var busy *BusyError
	if !errors.As(err, &busy) || !busy.Stale || !strings.Contains(err.Error(), "recover") {
		t.Errorf("err = %v, want a stale BusyError that says what to run", err)
	}
}

func same(t *testing.T, s *Store, want ...Attachment) {
	t.Helper()
	for name, read := range map[string]func() ([]Attachment, error){
		"All":    func() ([]Attachment, error) { return s.All(t.Context()) },
		"Domain": func() ([]Attachment, error) { return s.Domain(t.Context(), "web-uuid") },
		"Volume": func() ([]Attachment, error) { return s.Volume(t.Context(), "fast", "a") },
	} {
		got, err := read()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(0)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestMigrationJournal(t *testing.T) {
	s := open(t, statePath(t), boot1)
	ctx := t.Context()
	id, err := s.BeginMigration(ctx, Migration{
		DomainUUID: "u", DomainName: "web", SourceURI: "qemu:///system", DestURI: "qemu+ssh://kvm02/system",
		Detail: []byte(`{"pool":"fast"}`),
	})
	check(t, err)
	for i, kind := range []string{"create-volume", "create-volume", "migrate"} {
		n, err := s.TryStep(ctx, id, kind, []byte(`{}`))
		check(t, err)
		if n != i {
			t.Errorf("step %s has number %d, want %d", kind, n, i)
		}
	}
	check(t, s.SetStep(ctx, id, 1, Done))
	check(t, s.SetMigration(ctx, id, Moving, nil))

	m, err := s.Migration(ctx, id)
	check(t, err)
	want := Migration{
		ID: id, DomainUUID: "u", DomainName: "web", SourceURI: "qemu:///system",
		DestURI: "qemu+ssh://kvm02/system", State: Moving, BootID: boot1, Detail: []byte(`{"pool":"fast"}`),
	}
	if d := cmp.Diff(want, m, cmpopts.IgnoreTypes(time.Time{})); d != "" {
		t.Errorf("migration (-want +got):\n%s", d)
	}
	check(t, s.SetMigration(ctx, id, Moving, []byte(`{"pool":"slow"}`)))
	if m, err = s.Migration(ctx, id); err != nil || string(m.Detail) != `{"pool":"slow"}` {
		t.Errorf("detail = %s, %v", m.Detail, err)
	}
	steps, err := s.Steps(ctx, id)
	check(t, err)
	var got []string
	for _, st := range steps {
		got = append(got, fmt.Sprint(st.N, st.Kind, st.Status))
	}
	if d := cmp.Diff([]string{"0create-volumetrying", "1create-volumedone", "2migratetrying"}, got); d != "" {
		t.Errorf("steps (-want +got):\n%s", d)
	}
	for name, err := range map[string]error{
		"SetMigration": s.SetMigration(ctx, 99, Moving, nil),
		"SetStep":      s.SetStep(ctx, id, 9, Done),
		"TryStep":      second(s.TryStep(ctx, 99, "x", nil)),
		"Migration":    second(s.Migration(ctx, 99)),
	} {
		if !errors.Is(err, ErrNoRecord) {
			t.Errorf("%s of what is not there: %v, want ErrNoRecord", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestEndedMigrationsAreBounded(t *testing.T) {
	s := open(t, statePath(t), boot1)
	ctx := t.Context()
	begin := func() int64 {
		id, err := s.BeginMigration(ctx, Migration{DomainName: "web"})
		check(t, err)
		_, err = s.TryStep(ctx, id, "x", nil)
		check(t, err)
		return id
	}
	unfinished := begin()
	var ids []int64
	for i := range keepMigrations + 5 {
		id := begin()
		ids = append(ids, id)
		check(t, s.SetMigration(ctx, id, []MigrationState{Finished, Undone}[i%2], nil))
	}
	all, err := s.Migrations(ctx, false)
	check(t, err)
	if len(all) != keepMigrations+1 || all[0].ID != unfinished || all[1].ID != ids[5] {
		t.Errorf("%d migrations are kept, the oldest are %d and %d", len(all), all[0].ID, all[1].ID)
	}
	if steps, err := s.Steps(ctx, ids[0]); err != nil || len(steps) != 0 {
		t.Errorf("steps of a dropped migration: %v, %v", steps, err)
	}
	open, err := s.Migrations(ctx, true)
	if err != nil || len(open) != 1 || open[0].ID != unfinished {
		t.Errorf("unfinished = %v, %v", open, err)
	}
	if next := begin(); next <= ids[len(ids)-1] {
		t.Errorf("id %d was used before", next)
	}
}

func TestModes(t *testing.T) {
	path := statePath(t)
	s := open(t, path, boot1)
	claim(t, s, attachment("web", "a", "exclusive"))
	for file, want := range map[string]os.FileMode{
		filepath.Dir(path): os.ModeDir | 0o700, path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600,
	} {
		info, err := os.Stat(file)
		check(t, err)
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", file, info.Mode(), want)
		}
	}
	var sync, journal string
	check(t, s.db.QueryRow("SELECT synchronous, journal_mode FROM pragma_synchronous, pragma_journal_mode").Scan(&sync, &journal))
	if sync != "2" || journal != "wal" {
		t.Errorf("synchronous %s, journal %s; want 2 (FULL), wal", sync, journal)
	}
	check(t, os.Chmod(path, 0o644))
	open(t, path, boot1)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want it closed again", info.Mode(), err)
	}
}

func TestOddPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c%41#&;ü", "state.db")
	claim(t, open(t, path, boot1), attachment("web", "a", "exclusive"))
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Errorf("state file: %v, %v", info, err)
	}
}

func TestBootID(t *testing.T) {
	if id, err := BootID("/proc"); err != nil || len(id) != 36 {
		t.Errorf("BootID = %q, %v", id, err)
	}
	if _, err := BootID(t.TempDir()); err == nil {
		t.Error("BootID without /proc succeeded")
	}
}

func TestCancelled(t *testing.T) {
	s := open(t, statePath(t), boot1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Claim(ctx, attachment("web", "a", "exclusive")); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want context.Canceled", err)
	}
	claim(t, s, attachment("web", "a", "exclusive"))
}

// Several volumes are claimed together or not at all.
func TestClaimAll(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"), "boot")
	taken := Attachment{DomainUUID: "u1", DomainName: "other", Pool: "p", Volume: "b", Mode: "exclusive"}
	if _, _, err := s.Claim(t.Context(), taken); err != nil {
		t.Fatal(err)
	}
	mine := func(volume string) Attachment {
		return Attachment{DomainUUID: "u2", DomainName: "web", Pool: "p", Volume: volume, Mode: "exclusive"}
	}
	err := s.ClaimAll(t.Context(), []Attachment{mine("a"), mine("b"), mine("c")})
	var busy *BusyError
	if !errors.As(err, &busy) || busy.Volume != "b" {
		t.Fatalf("%v, want volume b busy", err)
	}
	if list, err := s.Domain(t.Context(), "u2"); err != nil || len(list) > 0 {
		t.Fatalf("after a refusal: %v, %v", list, err)
	}
	if err := s.ClaimAll(t.Context(), []Attachment{mine("a"), mine("c")}); err != nil {
		t.Fatal(err)
	}
	held := []Attachment{mine("a"), mine("c")}
	for i := range held {
		held[i].Phase = Held
	}
	if err := s.UpdateAll(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	list, err := s.Domain(t.Context(), "u2")
	if err != nil || len(list) != 2 || list[0].Phase != Held || list[1].Phase != Held {
		t.Fatalf("%v, %v", list, err)
	}
	if err := s.UpdateAll(t.Context(), []Attachment{held[0], mine("nobody")}); !errors.Is(err, ErrNoRecord) {
		t.Fatalf("%v, want no record", err)
	}
}

// TestPath: a device is found by its path, whatever its volume is called.
func TestPath(t *testing.T) {
	s := open(t, statePath(t), boot1)
	for i, path := range []string{"/dev/x", "/dev/x", "/dev/y"} {
		a := attachment(fmt.Sprint("dom", i), fmt.Sprint("v", i), "exclusive")
		a.Path = path
		claim(t, s, a)
	}
	list, err := s.Path(t.Context(), "/dev/x")
	if err != nil || len(list) != 2 || list[0].Volume != "v0" || list[1].Volume != "v1" {
		t.Errorf("%+v, %v; want v0 and v1", list, err)
	}
}
