package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/drivers"
)

const (
	configurationFile = "../../docs/configuration.md"
	madeBegin         = "<!-- made by 'go test -tags libvirt_dlopen ./cmd/volbridge -run TestConfigurationDocument -update' -->\n"
	madeEnd           = "<!-- end -->\n"
)

// otherValues are examples of the keys that the manual shows with their default.
var otherValues = map[string]string{
	"log_level":                       `"debug"`,
	"state_dir":                       `"/srv/state/volbridge"`,
	"run_dir":                         `"/run/volbridge-test"`,
	"timeouts/prepare":                `"90s"`,
	"timeouts/migrate":                `"10m"`,
	"timeouts/release":                `"30s"`,
	"timeouts/device":                 `"1m"`,
	"timeouts/lock":                   `"45s"`,
	"timeouts/pending_age":            `"5m"`,
	"dir/granularity":                 `"4KiB"`,
	"dir/mountpoint":                  `true`,
	"flasharray/fast_io_fail_timeout": `"5s"`,
	"flasharray/create_host":          `true`,
	"flasharray/eradicate":            `true`,
	"flasharray/default_protection":   `true`,
	"flasharray/tls_verify":           `false`,
	"flasharray/call_timeout":         `"30s"`,
	"flasharray/connections":          `4`,
	"flasharray/session_dir":          `""`,
	"drbd/timeout":                    `"1m"`,
	"linstor/diskful":                 `true`,
	"linstor/tls":                     `true`,
	"linstor/tls_verify":              `false`,
	"linstor/call_timeout":            `"1m"`,
}

// kind is "", "timeouts" or the type of pool whose keys a table has.
func (t configTable) kind() string {
	if !strings.HasPrefix(t.header, "pool.") {
		return t.header
	}
	return strings.Trim(t.keys[0].value, `"`)
}

func (t configTable) path(key string) string { return strings.TrimPrefix(t.kind()+"/"+key, "/") }

// example of a key that is not its default.
func (t configTable) example(k configKey) string {
	if !k.isDefault {
		return k.value
	}
	return otherValues[t.path(k.name)]
}

// keyTables is the part of the document that follows from the code.
func keyTables(a *app) string {
	var b strings.Builder
	b.WriteString("\n## All keys\n")
	for _, t := range a.configTables() {
		switch kind := t.kind(); kind {
		case "":
			b.WriteString("\n### Before the first table\n\nAll of them may be left out.\n")
		case "timeouts":
			fmt.Fprintf(&b, "\n### `[timeouts]`\n\n%s All of them may be left out.\n", t.what)
		default:
			fmt.Fprintf(&b, "\n### `[pool.NAME]` with `type = %q`\n\n%s\n", kind, t.what)
		}
		b.WriteString("\n| key | meaning | default | example |\n| --- | --- | --- | --- |\n")
		for _, k := range t.keys {
			standard := "none"
			if k.isDefault && k.value != `""` {
				standard = "`" + k.value + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | `%s = %s` |\n", k.name, strings.ReplaceAll(k.what, "|", `\|`), standard, k.name, t.example(k))
		}
	}
	return b.String() + "\n"
}

// The document has each key with the text, the default and the example that it
// has in the code.
func TestConfigurationDocument(t *testing.T) {
	a, _ := testManual()
	data, err := os.ReadFile(configurationFile)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, begun := strings.Cut(string(data), madeBegin)
	made, tail, ended := strings.Cut(rest, madeEnd)
	if !begun || !ended {
		t.Fatalf("%s has no part that begins with %sand ends with %s", configurationFile, madeBegin, madeEnd)
	}
	want := keyTables(a)
	if *update {
		if err := os.WriteFile(configurationFile, []byte(head+madeBegin+want+madeEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		made = want
	}
	if d := cmp.Diff(made, want); d != "" {
		t.Errorf("the keys are not as in the code (-document +code); the comment above them says how they are made anew:\n%s", d)
	}
	for key := range codeKeys() {
		if _, name, found := strings.Cut("/"+key, "/"); found && !strings.Contains(made, "| `"+name[strings.LastIndex(name, "/")+1:]+"` | ") {
			t.Errorf("%s is missing", key)
		}
	}
}

// The examples of the document are taken, and are no defaults.
func TestExamplesOfTheKeys(t *testing.T) {
	a, _ := testManual()
	for _, table := range a.configTables() {
		for _, k := range table.keys {
			example := table.example(k)
			if example == "" || k.isDefault && example == k.value {
				t.Errorf("%s has the example %q: give it one in otherValues", table.path(k.name), example)
				continue
			}
			if err := table.takes(k.name, example); err != nil {
				t.Errorf("%s = %s: %v", table.path(k.name), example, err)
			}
		}
	}
	known := codeKeys()
	for key := range otherValues {
		if !known[key] {
			t.Errorf("there is no key %s", key)
		}
	}
}

// takes says whether the code reads a key so.
func (t configTable) takes(key, value string) error {
	line := key + " = " + value + "\n"
	if !strings.HasPrefix(t.header, "pool.") {
		if t.header != "" {
			line = "[" + t.header + "]\n" + line
		}
		_, err := config.Parse("", []byte(line), 0o600, drivers.All)
		return err
	}
	if key == "type" {
		return nil
	}
	i := slices.IndexFunc(drivers.All, func(d pool.Driver) bool { return d.Type == t.kind() })
	settings := drivers.All[i].Settings()
	if err := toml.Unmarshal([]byte(line), settings); err != nil {
		return err
	}
	if wrong := drivers.All[i].Check(settings)[key]; wrong != "" && !strings.Contains(wrong, "together") {
		return fmt.Errorf("%s", wrong)
	}
	return nil
}

// What the document shows in TOML is a configuration, its URLs are of pools, and
// its commands are there.
func TestConfigurationDocumentSpeaksTheTruth(t *testing.T) {
	a, _ := testManual()
	data, err := os.ReadFile(configurationFile)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	blocks := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(text, -1)
	for _, block := range blocks {
		if _, err := config.Parse("the document", []byte(block[1]), 0o600, drivers.All); err != nil {
			t.Errorf("%v in\n%s", err, block[1])
		}
	}
	urls := 0
	for _, line := range regexp.MustCompile("(?m)^\\| `([a-z+]+:[^`]*)`( or `([a-z+]+:[^`]*)`)? \\|").FindAllStringSubmatch(text, -1) {
		for _, url := range []string{line[1], line[3]} {
			if url == "" {
				continue
			}
			urls++
			n := &addition{poolAddOptions: poolAddOptions{Name: "x", URL: url}}
			if _, err := n.describe(drivers.All); err != nil {
				t.Errorf("%s: %v", url, err)
			}
		}
	}
	commands := regexp.MustCompile(`(?m)^(?:  )?(?:kvm\d+)?# volbridge (.*)$`).FindAllStringSubmatch(text, -1)
	for _, command := range commands {
		checkExample(t, a.cli(), configurationFile, strings.Fields(command[1]))
	}
	if len(blocks) < 1 || urls < 7 || len(commands) < 4 {
		t.Errorf("found %d blocks of TOML, %d URLs, %d commands", len(blocks), urls, len(commands))
	}
}

// TestExamplesAreRead: what the packages have as examples is right as it stands.
func TestExamplesAreRead(t *testing.T) {
	files, err := filepath.Glob("../../packaging/examples/*.toml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse(file, text, 0o600, drivers.All)
		if err != nil || len(c.Pools) == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
}
