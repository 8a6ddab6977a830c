package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sirupsen/logrus"

	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool"
)

var update = flag.Bool("update", false, "write the golden files anew")

// arraySettings is a driver's settings with one field of each kind.
type arraySettings struct {
	Address string            `toml:"address"`
	Token   Secret            `toml:"token"`
	Portals []string          `toml:"portals"`
	Granule units.Size        `toml:"granule"`
	Verify  bool              `toml:"verify"`
	Retries int               `toml:"retries"`
	Wait    units.Duration    `toml:"wait"`
	Labels  map[string]string `toml:"labels"`
	Login   login             `toml:"login"`
}

// Place is where the array is; the address "nowhere" does not say it.
func (s *arraySettings) Place() string {
	if s.Address == "nowhere" {
		return ""
	}
	return "array " + s.Address
}

type login struct {
	User     string `toml:"user"`
	Password Secret `toml:"password"`
}

func drivers(opened *[]string) []pool.Driver {
	return []pool.Driver{{
		Type:     "array",
		Settings: func() any { return &arraySettings{Verify: true, Retries: 3} },
		Check: func(settings any) map[string]string {
			s := settings.(*arraySettings)
			found := map[string]string{}
			if s.Address == "" {
				found["address"] = "is missing: the host name of the array"
			}
			if s.Retries < 0 {
				found["retries"] = "must not be negative"
			}
			return found
		},
		Open: func(name string, settings any, _ *logrus.Entry) (pool.Backend, error) {
			*opened = append(*opened, name)
			if settings.(*arraySettings).Address == "broken" {
				return nil, errors.New("broken")
			}
			return nil, nil
		},
	}, {
		Type:     "plain",
		Settings: func() any { return &struct{}{} },
		Open:     func(name string, settings any, _ *logrus.Entry) (pool.Backend, error) { return nil, nil },
	}}
}

func write(t testing.TB, text string, perm os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "volbridge.toml")
	if err := os.WriteFile(path, []byte(text), perm); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, perm); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	path := write(t, `
# two pools, the second first in the alphabet
state_dir = "/srv/state"
host_name = "kvm01"
log_level = 'debug'

[timeouts]
prepare = "90s"
pending_age = "10m"

[pool.fast]
type = "array"
address = "array.example"   # the management address
token = "swordfish"
portals = [
  "192.0.2.1", # a
  "192.0.2.2",
]
granule = "8MiB"
verify = false
labels = { rack = "7", "odd key" = "x" }
login.user = "volbridge"
[pool.fast.login]
password = """hunter2"""

[pool."a.b-c_d"]
type = "plain"
`, 0o600)
	var opened []string
	c, err := Load(path, drivers(&opened))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Path, want.StateDir, want.HostName, want.LogLevel = path, "/srv/state", "kvm01", "debug"
	want.Timeouts.Prepare, want.Timeouts.PendingAge = 90*time.Second, 10*time.Minute
	want.Pools = []Pool{{Name: "fast", Type: "array", Settings: &arraySettings{
		Address: "array.example", Token: NewSecret("swordfish"), Portals: []string{"192.0.2.1", "192.0.2.2"},
		Granule: units.Size(8 << 20), Retries: 3, Labels: map[string]string{"rack": "7", "odd key": "x"},
		Login: login{User: "volbridge", Password: NewSecret("hunter2")},
	}}, {Name: "a.b-c_d", Type: "plain", Settings: &struct{}{}}}
	secrets := cmp.Comparer(func(a, b Secret) bool { return a.Reveal() == b.Reveal() })
	if d := cmp.Diff(want, c, cmpopts.IgnoreUnexported(Pool{}, arraySettings{}), secrets); d != "" {
		t.Errorf("configuration (-want +got):\n%s", d)
	}
	if c.StatePath() != "/srv/state/state.db" {
		t.Errorf("StatePath = %s", c.StatePath())
	}

	errUnknown := errors.New("unknown pool")
	pools := c.OpenPools(errUnknown, nil)
	if d := cmp.Diff([]string{"fast", "a.b-c_d"}, pools.Names()); d != "" {
		t.Error(d)
	}
	for range 2 {
		if _, err := pools.Open("fast"); err != nil {
			t.Error(err)
		}
	}
	if len(opened) != 1 {
		t.Errorf("opened %v, want one pool once", opened)
	}
	if _, err := pools.Open("slow"); !errors.Is(err, errUnknown) || !strings.Contains(err.Error(), path) {
		t.Errorf("Open of an unknown pool: %v", err)
	}
}

func TestEmptyFileIsDefault(t *testing.T) {
	path := write(t, "", 0o644)
	c, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Path = path
	if d := cmp.Diff(want, c); d != "" {
		t.Error(d)
	}
}

// TestMistakes: testdata/*.toml, with all their problems in *.golden.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			path := write(t, string(text), 0o644)
			_, err = Load(path, drivers(new([]string)))
			var invalid *InvalidError
			if !errors.As(err, &invalid) {
				t.Fatalf("err = %v, want an InvalidError", err)
			}
			got := strings.ReplaceAll(err.Error(), path, "FILE") + "\n"
			golden := strings.TrimSuffix(file, ".toml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			for _, leaked := range []string{"swordfish", "hunter2"} {
				if strings.Contains(got, leaked) {
					t.Errorf("the message shows the secret %s", leaked)
				}
			}
		})
	}
}

func TestTenMistakesAreTenFindings(t *testing.T) {
	text, err := os.ReadFile("testdata/ten.toml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Load(write(t, string(text), 0o600), drivers(new([]string)))
	var invalid *InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != 10 {
		t.Fatalf("err = %v, want ten problems", err)
	}
	lines := strings.Split(string(text), "\n")
	for _, p := range invalid.Problems {
		if p.Line < 1 || !strings.Contains(lines[p.Line-1], "# wrong") {
			t.Errorf("problem at line %d, where there is none: %v", p.Line, p)
		}
	}
}

func TestMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.toml")
	_, err := Load(path, nil)
	if !errors.Is(err, ErrNoConfig) || !strings.Contains(err.Error(), path) {
		t.Errorf("err = %v", err)
	}
}

func TestNotTrusted(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{
		"a folder":        dir,
		"group may write": write(t, "", 0o620),
		"all may write":   write(t, "", 0o606),
	} {
		if _, err := Load(path, nil); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: err = %v, want ErrRefused", name, err)
		}
	}
	if os.Geteuid() == 0 {
		path := write(t, "", 0o600)
		if err := os.Chown(path, 65534, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path, nil); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "chown") {
			t.Errorf("a file of nobody: err = %v, want ErrRefused", err)
		}
	}
	if _, err := Load(write(t, "#"+strings.Repeat("x", maxBytes), 0o600), nil); err == nil {
		t.Error("a file of more than a mebibyte was read")
	}
}

func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestHost(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	root := tree(t, map[string]string{"etc/machine-id": id + "\n", "proc/sys/kernel/hostname": "kvm01.example\n"})
	h, err := Default().Host(root)
	if err != nil {
		t.Fatal(err)
	}
	// The id may never change: arrays know the host by it.
	if want := (pool.Host{Name: "kvm01.example", ID: "5e2565972bf345adb9b9c60115e496da",
		NQN: "nqn.2014-08.org.nvmexpress:uuid:c64a6e1b-a8b7-8701-a942-00bfc77f0f6c"}); h != want {
		t.Errorf("host = %+v, want %+v", h, want)
	}
	if again, err := Default().Host(root); err != nil || again != h {
		t.Errorf("again = %+v, %v; want %+v", again, err, h)
	}
	c := Default()
	c.HostName, c.HostID = "a", "b"
	if h, err := c.Host(t.TempDir()); err != nil || h.Name != "a" || h.ID != "b" || h.NQN == "" {
		t.Errorf("configured host = %+v, %v", h, err)
	}
	for name, files := range map[string]map[string]string{
		"uninitialized": {"etc/machine-id": "uninitialized\n", "proc/sys/kernel/hostname": "a"},
		"empty id":      {"etc/machine-id": "", "proc/sys/kernel/hostname": "a"},
		"no id":         {"proc/sys/kernel/hostname": "a"},
	} {
		if _, err := Default().Host(tree(t, files)); !errors.Is(err, ErrNoHostID) || !strings.Contains(err.Error(), "host_id") {
			t.Errorf("%s: %v, want ErrNoHostID and the remedy", name, err)
		}
	}
	if _, err := Default().Host(tree(t, map[string]string{"etc/machine-id": id, "proc/sys/kernel/hostname": "a b\n"})); err == nil {
		t.Error("a host name with a space was taken")
	}
}

func TestHostNQN(t *testing.T) {
	for text, want := range map[string]string{
		"nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555\n": "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555",
		"nqn.2020-01.com.example:kvm01":                                          "nqn.2020-01.com.example:kvm01",
		"":                                                                       "",
		"kvm01":                                                                  "",
		"nqn.2020-01.com.example:a,traddr=10.0.0.1": "",
		"nqn.2020-01.com.example:a b":               "",
		"nqn.2020-01.a:" + strings.Repeat("x", 300): "",
	} {
		root := tree(t, map[string]string{"etc/nvme/hostnqn": text, "etc/machine-id": strings.Repeat("0", 32), "proc/sys/kernel/hostname": "a"})
		h, err := Default().Host(root)
		if want == "" && (err == nil || !strings.Contains(err.Error(), "gen-hostnqn")) || want != "" && (err != nil || h.NQN != want) {
			t.Errorf("%q: %q, %v", text, h.NQN, err)
		}
	}
}

// FuzzLoad: no file makes Load panic, and a file that is refused says at
// which of its lines.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	path := filepath.Join(f.TempDir(), "volbridge.toml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path, drivers(new([]string)))
		var invalid *InvalidError
		if err == nil || !errors.As(err, &invalid) {
			return
		}
		for _, p := range invalid.Problems {
			if p.Line < 0 || p.Line > 1+strings.Count(text, "\n") {
				t.Errorf("problem at line %d of %d: %v", p.Line, strings.Count(text, "\n"), p)
			}
		}
	})
}

// Two pools with the same volumes are refused, and both are named.
func TestPoolsOfOnePlace(t *testing.T) {
	const two = `[pool.a]
type = "array"
address = "%s"
[pool.b]
type = "array"
address = "%s"
verify = false
`
	for _, c := range []struct{ first, second, says string }{
		{"one", "one", "line 4, pool.b: its volumes are those of [pool.a] already (array one): remove one of the two"},
		{"one", "two", ""}, {"nowhere", "nowhere", ""},
	} {
		_, err := Load(write(t, fmt.Sprintf(two, c.first, c.second), 0o600), drivers(new([]string)))
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s and %s: %v; want %q", c.first, c.second, err, c.says)
		}
	}
}
