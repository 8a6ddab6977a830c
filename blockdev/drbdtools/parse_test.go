package drbdtools

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestStates(t *testing.T) {
	for name, want := range map[string][]State{
		"events-84.txt": {{Resource: "r0", Role: "Secondary", Devices: []Device{{0, 0, UpToDate}}, Peers: []Peer{
			{NodeID: "0", Name: "peer", Connection: Connected, Role: "Secondary", Disks: map[int]PeerDisk{0: {"Established", UpToDate}}}}}},
		"events-9.txt": {{Resource: "web", Role: "Secondary", Devices: []Device{{0, 1000, Diskless}}, Peers: []Peer{
			{NodeID: "1", Name: "kvm02", Connection: Connected, Role: Primary, Disks: map[int]PeerDisk{0: {"Established", UpToDate}}},
			{NodeID: "2", Name: "kvm03", Connection: "Connecting", Role: Unknown, Disks: map[int]PeerDisk{0: {"Off", "Outdated"}}}}}},
	} {
		got, err := parseStates(testdata(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got, err := parseStates([]byte("exists -\n")); err != nil || len(got) != 0 {
		t.Errorf("nothing is up: %v, %v", got, err)
	}
}

// TestStatesAreWhole leaves out, doubles and spoils each line: what is not a
// whole answer is none.
func TestStatesAreWhole(t *testing.T) {
	for _, file := range []string{"events-84.txt", "events-9.txt"} {
		lines := strings.SplitAfter(string(testdata(t, file)), "\n")
		lines = lines[:len(lines)-1]
		for i, line := range lines {
			if strings.HasPrefix(line, "exists path") {
				continue
			}
			rest := strings.Join(lines[i+1:], "")
			before := strings.Join(lines[:i], "")
			for what, text := range map[string]string{
				"cut":      before,
				"doubled":  before + line + line + rest,
				"unknown":  before + "created" + strings.TrimPrefix(line, "exists") + rest,
				"no value": before + strings.TrimSpace(line) + " nothing\n" + rest,
			} {
				if got, err := parseStates([]byte(text)); err == nil {
					t.Errorf("%s, line %d %s: %+v", file, i+1, what, got)
				}
			}
			for _, field := range strings.Fields(line)[1:] {
				key, _, _ := strings.Cut(field, ":")
				if !strings.Contains(" name role volume minor disk connection peer-node-id replication peer-disk ", " "+key+" ") {
					continue
				}
				if got, err := parseStates([]byte(before + strings.Replace(line, field, "x:y", 1) + rest)); err == nil {
					t.Errorf("%s, line %d without %s: %+v", file, i+1, key, got)
				}
			}
		}
	}
}

func TestTwoPrimariesIsFound(t *testing.T) {
	const template = "resource r0 { net { %s } _this_host { volume 0 { disk { } } } }"
	for text, want := range map[string]bool{
		string(testdata(t, "show-84.txt")):                                         false,
		string(testdata(t, "show-9.txt")):                                          true,
		strings.Replace(template, "%s", "allow-two-primaries\tyes;", 1):            true,
		strings.Replace(template, "%s", "allow-two-primaries;", 1):                 true,
		strings.Replace(template, "%s", "allow-two-primaries no; # default\n", 1):  false,
		strings.Replace(template, "%s", `secret "allow-two-primaries yes;\"";`, 1): false,
		"resource r0 { disk { allow-two-primaries yes; } }":                        false,
	} {
		if got, err := parseTwoPrimaries([]byte(text)); err != nil || got != want {
			t.Errorf("%v, %v of\n%s", got, err, text)
		}
	}
	for _, text := range []string{"resource r0 {", "resource r0 { net {", "}", "{ }", "resource r0 { net }", `a "b`, "a", strings.Repeat("a {", 99)} {
		if got, err := parseTwoPrimaries([]byte(text)); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestConfig(t *testing.T) {
	for name, want := range map[string][]Resource{
		"config-84.xml": {{Name: "r0", Hosts: []string{"kvm01", "kvm02"}, Volumes: []int{0}, Protocol: "C"}},
		"config-9.xml": {
			{Name: "db", Hosts: []string{"kvm01", "kvm02"}, Volumes: []int{0, 1}, Protocol: "A", TwoPrimaries: true},
			{Name: "web", Hosts: []string{"kvm01", "kvm02", "kvm03"}, Volumes: []int{0}},
		},
	} {
		got, err := parseConfig(testdata(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, text := range []string{
		"", "<config>", "<other/>", "<config/><config/>", "words",
		`<config><resource name="-f"/></config>`, `<config><resource name="a/b"/></config>`, `<config><resource/></config>`,
		`<config><resource name="a"/><resource name="a"/></config>`,
	} {
		if got, err := parseConfig([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

// TestConfigOfOthers: a resource that is not understood says so, and keeps nobody
// from the others.
func TestConfigOfOthers(t *testing.T) {
	for _, text := range []string{
		`<resource name="a"><host/></resource>`,
		`<resource name="a"><host name="h"><volume vnr="x"/></host></resource>`,
		`<resource name="a"><host name="h"><volume vnr="-1"/></host></resource>`,
		`<resource name="a"><section name="net"><option name="protocol" value="D"/></section></resource>`,
	} {
		got, err := parseConfig([]byte("<config>" + text + `<resource name="b"><host name="h"><volume vnr="0"/></host></resource></config>`))
		if err != nil || len(got) != 2 || got[0].Problem == "" || got[1].Problem != "" || got[1].Hosts[0] != "h" {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func FuzzStates(f *testing.F) {
	f.Add(testdata(f, "events-84.txt"))
	f.Add(testdata(f, "events-9.txt"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := parseStates(data)
		if err != nil && all != nil {
			t.Errorf("both %v and %v", all, err)
		}
		for _, s := range all {
			if !ValidResource(s.Resource) || s.Role == "" {
				t.Errorf("%+v", s)
			}
			for _, d := range s.Devices {
				if d.Volume < 0 || d.Minor < 0 || d.Disk == "" {
					t.Errorf("%+v", d)
				}
			}
			_ = s.Usable(0, true)
		}
	})
}

func FuzzShow(f *testing.F) {
	f.Add(testdata(f, "show-84.txt"))
	f.Add(testdata(f, "show-9.txt"))
	f.Fuzz(func(t *testing.T, data []byte) {
		allowed, err := parseTwoPrimaries(data)
		if allowed && (err != nil || !strings.Contains(string(data), "allow-two-primaries")) {
			t.Errorf("%v, %v", allowed, err)
		}
	})
}

func FuzzConfig(f *testing.F) {
	f.Add(testdata(f, "config-84.xml"))
	f.Add(testdata(f, "config-9.xml"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, _ := parseConfig(data)
		for _, r := range all {
			if !ValidResource(r.Name) || !strings.Contains("ABC", r.Protocol) {
				t.Errorf("%+v", r)
			}
		}
	})
}
