package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/drivers"
)

func testManual() (*app, manual) {
	a := &app{out: io.Discard, err: io.Discard, getenv: os.Getenv, drivers: drivers.All}
	return a, manual{app: a, date: "2026-01-02", source: "volbridge 1.2.3"}
}

// TestManualIsComplete: no command, no flag and no key without its text.
func TestManualIsComplete(t *testing.T) {
	a, m := testManual()
	flags := func(name string, flags []cli.Flag) {
		for _, f := range flags {
			d, ok := f.(cli.DocGenerationFlag)
			if _, what := flagText(d); !ok || what == "" {
				t.Errorf("%s: flag %s has no text", name, f.Names()[0])
			}
		}
	}
	flags("volbridge", a.globalFlags())
	m.each("volbridge", a.commands(), func(name string, c *cli.Command) {
		if c.Usage == "" || c.Description == "" {
			t.Errorf("%s: usage %q, description %q: one is missing", name, c.Usage, c.Description)
		}
		flags(name, c.Flags)
	})
	for _, table := range a.configTables() {
		for _, k := range table.keys {
			if k.what == "" {
				t.Errorf("[%s] %s has no text: write one into man_keys.go", table.header, k.name)
			}
		}
	}
}

// TestManualShowsEverything looks for each flag and key on the page that has to
// show it.
func TestManualShowsEverything(t *testing.T) {
	a, m := testManual()
	pages := map[string]string{}
	for _, p := range a.manPages(m.date) {
		if pages[p.file()] != "" {
			t.Errorf("two pages are called %s", p.file())
		}
		pages[p.file()] = p.text
	}
	see := func(page, term string) {
		t.Helper()
		if !strings.Contains(pages[page], "\n"+term) && !strings.Contains(pages[page], ", "+term) {
			t.Errorf("%s does not show %s", page, term)
		}
	}
	for _, f := range a.globalFlags() {
		see("volbridge.1", bold("--"+f.Names()[0]))
	}
	m.each("volbridge", a.commands(), func(name string, c *cli.Command) {
		see("volbridge.1", bold(pageName(name)))
		for _, f := range c.Flags {
			see(pageName(name)+".1", bold("--"+f.Names()[0]))
		}
	})
	for key := range codeKeys() {
		see("volbridge.toml.5", bold(key[strings.LastIndex(key, "/")+1:]))
	}
}

// TestCommandList keeps the list of all commands, those that are not shown too. A
// test that has to know each of them reads it.
func TestCommandList(t *testing.T) {
	a, _ := testManual()
	var list []string
	var walk func(parent string, commands []*cli.Command)
	walk = func(parent string, commands []*cli.Command) {
		for _, c := range commands {
			if walk(parent+c.Name+" ", c.Subcommands); len(c.Subcommands) == 0 {
				list = append(list, parent+c.Name+"\n")
			}
		}
	}
	walk("", a.commands())
	slices.Sort(list)
	golden(t, "testdata/commands.txt", strings.Join(list, ""))
}

// golden compares a text with a file, or writes it there.
func golden(t *testing.T, file, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), text); d != "" {
		t.Errorf("%s is not as the program says (-file +program); write it anew with\n  go test -tags libvirt_dlopen ./cmd/volbridge -run %s -update\n%s", file, t.Name(), d)
	}
}

// codeKeys are the keys that the code reads: "timeouts/lock", "dir/path".
func codeKeys() map[string]bool {
	keys := map[string]bool{}
	for _, k := range config.GlobalKeys() {
		keys[strings.ReplaceAll(k, ".", "/")] = true
	}
	for _, d := range drivers.All {
		keys[d.Type+"/type"] = true
		for _, k := range tomlKeys(d.Settings()) {
			keys[d.Type+"/"+k] = true
		}
	}
	return keys
}

// uncommented is the example with every key set.
func uncommented(example string) []byte {
	var b bytes.Buffer
	for line := range strings.Lines(example) {
		if len(line) > 1 && line[0] == '#' && line[1] != ' ' {
			line = line[1:]
		}
		b.WriteString(line)
	}
	return b.Bytes()
}

// TestExampleHasEveryKey compares the example with what the code reads.
func TestExampleHasEveryKey(t *testing.T) {
	a, _ := testManual()
	var all map[string]any
	if err := toml.Unmarshal(uncommented(a.exampleConfig()), &all); err != nil {
		t.Fatalf("the example with all its keys is no TOML: %v", err)
	}
	have := map[string]bool{}
	for key, value := range all {
		switch key {
		case "pool":
			for _, p := range value.(map[string]any) {
				kind := p.(map[string]any)["type"].(string)
				for k := range p.(map[string]any) {
					have[kind+"/"+k] = true
				}
			}
		case "timeouts":
			for k := range value.(map[string]any) {
				have["timeouts/"+k] = true
			}
		default:
			have[key] = true
		}
	}
	if want := codeKeys(); !reflect.DeepEqual(have, want) {
		for _, k := range sortedDiff(want, have) {
			t.Errorf("the example lacks %s: give it a text in man_keys.go", k)
		}
		for _, k := range sortedDiff(have, want) {
			t.Errorf("the example has %s, which the code does not read", k)
		}
	}
}

func sortedDiff(a, b map[string]bool) (list []string) {
	for k := range a {
		if !b[k] {
			list = append(list, k)
		}
	}
	slices.Sort(list)
	return list
}

// TestExampleIsTheDefault: the example as it is installed changes nothing, and
// what it shows as defaults are defaults.
func TestExampleIsTheDefault(t *testing.T) {
	a, _ := testManual()
	load := func(text string) *config.Config {
		t.Helper()
		file := filepath.Join(t.TempDir(), "volbridge.toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(file, drivers.All)
		if err != nil {
			t.Fatal(err)
		}
		c.Path = config.DefaultPath
		return c
	}
	if got := load(a.exampleConfig()); !reflect.DeepEqual(got, config.Default()) {
		t.Errorf("the example is read as %+v, not as %+v", got, config.Default())
	}
	global := string(uncommented(a.exampleConfig()))
	global = global[:strings.Index(global, "[pool.")]
	got := load(global)
	got.HostName, got.HostID = "", "" // examples
	if !reflect.DeepEqual(got, config.Default()) {
		t.Errorf("the defaults of the example are read as %+v, not as %+v", got, config.Default())
	}
}

// TestPoolDefaultsOfTheExample reads each default of a pool's key back.
func TestPoolDefaultsOfTheExample(t *testing.T) {
	a, _ := testManual()
	for _, table := range a.configTables() {
		if !strings.HasPrefix(table.header, "pool.") {
			continue
		}
		kind := strings.Trim(table.keys[0].value, `"`)
		i := slices.IndexFunc(drivers.All, func(d pool.Driver) bool { return d.Type == kind })
		settings := drivers.All[i].Settings()
		for _, k := range table.keys {
			if !k.isDefault {
				continue
			}
			if err := toml.Unmarshal([]byte(k.name+" = "+k.value), settings); err != nil {
				t.Errorf("[%s] %s = %s: %v", table.header, k.name, k.value, err)
			}
		}
		if !reflect.DeepEqual(settings, drivers.All[i].Settings()) {
			t.Errorf("the defaults of %s are read as %+v", table.header, settings)
		}
	}
}

// TestManualIsCleanRoff lets man set every page.
func TestManualIsCleanRoff(t *testing.T) {
	man, err := exec.LookPath("man")
	if err != nil {
		testenv.Missing(t, "man")
	}
	dir := t.TempDir()
	a, m := testManual()
	if err := a.writeDocs(dir, m.date); err != nil {
		t.Fatal(err)
	}
	pages, _ := filepath.Glob(filepath.Join(dir, "*.[158]"))
	if len(pages) < 20 {
		t.Fatalf("only %d pages", len(pages))
	}
	for _, page := range pages {
		cmd := exec.Command(man, "-l", "--warnings", page)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANWIDTH=80", "MAN_KEEP_FORMATTING=")
		var out, warnings bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &warnings
		if err := cmd.Run(); err != nil || warnings.Len() > 0 {
			t.Errorf("%s: %v: %s", filepath.Base(page), err, warnings.String())
		}
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, `\f`) || strings.Contains(line, `\(`) {
				t.Errorf("%s: an escape is shown: %s", filepath.Base(page), line)
			}
		}
	}
}

func TestRoffEscapes(t *testing.T) {
	for _, c := range [][2]string{
		{".SH looks like a macro", `\&.SH looks like a macro`},
		{"'quoted' at the start", `\(aqquoted\(aq at the start`},
		{`a\nb --flag`, `a\enb \-\-flag`},
	} {
		if got := roffText(c[0]); got != c[1] {
			t.Errorf("roffText(%q) = %q, want %q", c[0], got, c[1])
		}
	}
}
