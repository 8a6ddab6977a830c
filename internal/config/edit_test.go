package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/volbridge/volbridge/internal/testenv"
)

func arrayTable(t testing.TB, name string, settings map[string]string) []byte {
	t.Helper()
	text, err := Table(name, drivers(new([]string))[0], settings)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTable(t *testing.T) {
	got := string(arrayTable(t, "a.b", map[string]string{
		"verify": "false", "address": `x"y`, "portals": "192.0.2.1,192.0.2.2", "granule": "8MiB", "retries": "7", "wait": "5s",
	}))
	want := "[pool.\"a.b\"]\ntype = \"array\"\naddress = \"x\\\"y\"\nportals = [\"192.0.2.1\", \"192.0.2.2\"]\n" +
		"granule = \"8MiB\"\nverify = false\nretries = 7\nwait = \"5s\"\n"
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if _, err := Table("a", drivers(new([]string))[0], map[string]string{"adress": "geheim"}); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Error(err)
	}
}

// What is added and removed leaves every other byte as it was, comments too.
func TestAppendAndRemove(t *testing.T) {
	added := arrayTable(t, "new", map[string]string{"address": "a"})
	for name, text := range map[string]string{
		"empty":           "",
		"comments":        "# ours\n\n# [pool.new]\n",
		"keys":            "host_name = \"h\" # note\n",
		"a pool":          "[pool.old]\ntype = \"array\" # x\naddress = \"o\"\n\n# the end\n",
		"CRLF":            "[pool.old]\r\ntype = \"array\"\r\naddress = \"o\"\r\n",
		"a text of lines": "[pool.old]\ntype = \"array\"\naddress = \"\"\"\n[pool.new]\nx\"\"\"\n",
		"a list of lines": "[pool.old]\ntype = \"array\"\naddress = \"o\"\nportals = [\n  \"a\", # first\n  \"b\",\n]\n",
		"dotted":          "pool.old.type = \"array\"\npool.old.address = \"o\"\n",
		"inside a table":  "[pool]\nold.type = \"array\"\nold.address = \"o\"\n",
		"timeouts":        "[timeouts]\nprepare = \"1m\"\n",
	} {
		with, err := AppendPool([]byte(text), "new", added)
		if err != nil || !strings.HasPrefix(string(with), text) || !strings.HasSuffix(string(with), string(added)) {
			t.Errorf("%s: added: %v\n%s", name, err, with)
			continue
		}
		if _, err := AppendPool(with, "new", added); !errors.Is(err, ErrThere) {
			t.Errorf("%s: added twice: %v", name, err)
		}
		without, err := RemovePool(with, "new")
		if err != nil || string(without) != text {
			t.Errorf("%s: removed: %v\n%q\nwant\n%q", name, err, without, text)
		}
		if _, err := RemovePool(without, "new"); !errors.Is(err, ErrNotThere) {
			t.Errorf("%s: removed twice: %v", name, err)
		}
	}
}

func TestRemoveFromTheMiddle(t *testing.T) {
	text := "# top\n[pool.a] # a\ntype = \"plain\"\n\n# about b\n[pool.b]\n# inside b\ntype = \"plain\" # last of b\n# below b\n\n# about c\n[pool.c]\ntype = \"plain\"\n"
	want := "# top\n[pool.a] # a\ntype = \"plain\"\n\n# about b\n# below b\n\n# about c\n[pool.c]\ntype = \"plain\"\n"
	if got, err := RemovePool([]byte(text), "b"); err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestRemoveLeavesToAPersonWhatIsNotOneTable(t *testing.T) {
	for name, text := range map[string]string{
		"dotted":       "pool.x.type = \"plain\"\n",
		"in [pool]":    "[pool]\nx.type = \"plain\"\n",
		"inline":       "[pool]\nx = {type = \"plain\"}\n",
		"all inline":   "pool = {x = {type = \"plain\"}}\n",
		"with a table": "[pool.x]\ntype = \"plain\"\n[pool.x.more]\na = 1\n",
		"a sub table":  "[pool.x.more]\na = 1\n",
	} {
		if _, err := RemovePool([]byte(text), "x"); err == nil || !strings.Contains(err.Error(), "with an editor") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := RemovePool([]byte("[pool.x]\ntype = \"geheim\nx = 1\n"), "x"); err == nil || !strings.Contains(err.Error(), "line 2") || strings.Contains(err.Error(), "geheim") {
		t.Error(err)
	}
}

// A power cut at any step leaves the old file or the new one, whole.
func TestEditIsAtomic(t *testing.T) {
	old := "# mine\n[pool.a]\ntype = \"array\"\naddress = \"a\"\n"
	path := write(t, old, 0o640)
	added := arrayTable(t, "b", map[string]string{"address": "b"})
	var steps []string
	e := Editor{Path: path, Drivers: drivers(new([]string))}
	e.Step = func(name string) {
		steps = append(steps, name)
		text, err := os.ReadFile(path)
		if err != nil || (string(text) != old) != (name == "sync folder") {
			t.Errorf("at %q: %v, the file is %q", name, err, text)
		}
		if fresh, err := os.ReadFile(filepath.Dir(path) + "/.volbridge.toml.new"); name == "rename" && (err != nil || !bytes.HasSuffix(fresh, added)) {
			t.Errorf("at %q the new file is %q, %v", name, fresh, err)
		}
	}
	if err := e.Edit(t.Context(), func(text []byte) ([]byte, error) { return AppendPool(text, "b", added) }); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(steps, ", "); got != "create, write, sync, rename, sync folder" {
		t.Errorf("steps %s", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Error(info.Mode(), err)
	}
	if c, err := Load(path, e.Drivers); err != nil || len(c.Pools) != 2 {
		t.Error(c, err)
	}
}

// What would be wrong, or fails, leaves the file as it was and nothing beside it.
func TestEditThatFails(t *testing.T) {
	old := "[pool.a]\ntype = \"array\"\naddress = \"a\"\n"
	path := write(t, old, 0o600)
	e := Editor{Path: path, Drivers: drivers(new([]string))}
	var invalid *InvalidError
	err := e.Edit(t.Context(), func([]byte) ([]byte, error) { return []byte("[pool.a]\ntype = \"tape\"\n"), nil })
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "not changed") || invalid.Path != path {
		t.Error(err)
	}
	broken := errors.New("broken")
	if err := e.Edit(t.Context(), func([]byte) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != old {
		t.Errorf("%q, %v", text, err)
	}
	if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
		t.Error(list)
	}
}

// Where there is no file one is made, with a folder; a link stays one; what a
// dead edit left is no hindrance.
func TestEditMakesAndFollows(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "etc", "volbridge.toml")
	e := Editor{Path: path, Drivers: drivers(new([]string))}
	add := func(name string) error {
		return e.Edit(t.Context(), func(text []byte) ([]byte, error) {
			return AppendPool(text, name, arrayTable(t, name, map[string]string{"address": name}))
		})
	}
	if err := add("a"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	link := filepath.Join(dir, "link.toml")
	for _, err := range []error{
		os.Symlink(path, link),
		os.WriteFile(filepath.Join(dir, "etc", ".volbridge.toml.new"), []byte("left"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	e.Path = link
	if err := add("b"); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != path {
		t.Error(to, err)
	}
	if c, err := Load(path, e.Drivers); err != nil || len(c.Pools) != 2 {
		t.Error(c, err)
	}
	if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
		t.Error(list)
	}
}

func TestEditKeepsTheOwner(t *testing.T) {
	testenv.NeedRoot(t)
	path := write(t, "", 0o640)
	if err := os.Chown(path, 0, 65534); err != nil {
		t.Fatal(err)
	}
	e := Editor{Path: path, Drivers: drivers(new([]string))}
	if err := e.Edit(t.Context(), func([]byte) ([]byte, error) { return []byte("log_level = \"debug\"\n"), nil }); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Sys().(*syscall.Stat_t).Gid != 65534 || info.Mode().Perm() != 0o640 {
		t.Error(info, err)
	}
}

// Edits at the same time lose nothing, and one that waits in vain says so.
func TestEditsExcludeEachOther(t *testing.T) {
	path := write(t, "# mine\n", 0o600)
	e := Editor{Path: path, Drivers: drivers(new([]string))}
	var all sync.WaitGroup
	for n := range 16 {
		all.Go(func() {
			name := fmt.Sprintf("p%d", n)
			err := e.Edit(context.Background(), func(text []byte) ([]byte, error) {
				return AppendPool(text, name, arrayTable(t, name, map[string]string{"address": name}))
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if c, err := Load(path, e.Drivers); err != nil || len(c.Pools) != 16 {
		t.Errorf("%+v, %v", c, err)
	}
	err := e.Edit(t.Context(), func([]byte) ([]byte, error) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		return nil, e.Edit(ended, func([]byte) ([]byte, error) { return nil, nil })
	})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "another command edits") {
		t.Error(err)
	}
}

// FuzzEdit: whatever the file is, an addition keeps its bytes, and its removal
// brings them back.
func FuzzEdit(f *testing.F) {
	for _, seed := range []string{"", "# x", "[pool.a]\ntype = \"plain\"\n", "a = '''\n[pool.new]'''\n", "[pool]\nx = {a=1}\r\n", "\n\n", "[[a]]"} {
		f.Add(seed)
	}
	added := []byte("[pool.new]\ntype = \"plain\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		with, err := AppendPool([]byte(text), "new", added)
		if err != nil {
			return
		}
		if !strings.HasPrefix(string(with), text) {
			t.Fatalf("%q became %q", text, with)
		}
		without, err := RemovePool(with, "new")
		if err != nil {
			return // it was written in another way too
		}
		if got := strings.TrimSuffix(string(without), "\n"); got != strings.TrimSuffix(text, "\n") {
			t.Errorf("%q came back as %q", text, without)
		}
	})
}
