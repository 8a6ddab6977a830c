package flasharray_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/volbridge/volbridge/lab/flasharray"
)

// paths writes down what a data path is told.
type paths struct{ told []string }

func (p *paths) say(format string, args ...any) error {
	p.told = append(p.told, fmt.Sprintf(format, args...))
	return nil
}

func (p *paths) Map(nqn string, nsid uint32, n flasharray.Namespace) error {
	return p.say("map %s %d", nqn, nsid)
}

func (p *paths) Unmap(nqn string, nsid uint32, n flasharray.Namespace) error {
	return p.say("unmap %s %d", nqn, nsid)
}
func (p *paths) Resize(n flasharray.Namespace) error { return p.say("resize %d", n.SizeBytes) }
func (p *paths) Remove(n flasharray.Namespace) error { return p.say("remove") }

func (p *paths) expect(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(p.told, want) {
		t.Errorf("the data path was told %q, want %q", p.told, want)
	}
	p.told = nil
}

func TestWhoSeesAVolume(t *testing.T) {
	p := &paths{}
	r := newRig(t, flasharray.Options{DataPath: p})
	r.AddVolumes("v", 2, 1<<20)
	r.AddHost("h1", "n1")
	r.AddHost("h2", "n2")
	r.AddHost("h3", "n3")
	r.AddGroup("g", "h1", "h2")

	r.ok("POST", "/connections", "host_group_names=g&volume_names=v1", nil)
	p.expect(t, "map n1 1", "map n2 1")
	r.ok("POST", "/connections", "host_names=h2&volume_names=v2", nil)
	p.expect(t, "map n2 2")
	r.ok("POST", "/host-groups/hosts", "group_names=g&member_names=h3", nil)
	p.expect(t, "map n3 1")
	if got := r.refused("POST", "/connections", "host_names=h1&volume_names=v1", nil); got != "Connection already exists." {
		t.Error("a member of the group:", got)
	}
	r.ok("PATCH", "/volumes", "names=v1", m{"provisioned": 2 << 20})
	p.expect(t, "resize 2097152")
	if got := r.refused("DELETE", "/connections", "host_names=h1&volume_names=v1", nil); got != "Connection does not exist." {
		t.Error("a group's connection by its member:", got)
	}
	r.ok("DELETE", "/host-groups/hosts", "group_names=g&member_names=h3", nil)
	p.expect(t, "unmap n3 1")
	r.ok("DELETE", "/connections", "host_group_names=g&volume_names=v1", nil)
	p.expect(t, "unmap n1 1", "unmap n2 1")
	r.ok("POST", "/connections", "host_names=h2&volume_names=v1", nil)
	p.expect(t, "map n2 1")
	if want := []string{"v1 h2", "v2 h2"}; !slices.Equal(r.Connections(), want) {
		t.Errorf("%v, want %v", r.Connections(), want)
	}
}

func TestBothFlavours(t *testing.T) {
	for version, want := range map[string]any{"2.26": nil, "2.27": 1.0} {
		r := newRig(t, flasharray.Options{Version: version})
		r.AddVolumes("v", 1, 1<<20)
		r.AddHost("h1", "n1")
		r.AddHost("h2", "n2")
		r.AddGroup("g", "h2")
		made := r.ok("POST", "/connections", "host_names=h1&volume_names=v1", nil).Items
		if got := made[0]["nsid"]; got != want || made[0]["lun"] != nil {
			t.Errorf("%s: %v", version, made)
		}
		if got := r.ok("POST", "/connections", "host_group_names=g&volume_names=v1", nil).Items; got[0]["nsid"] != nil {
			t.Errorf("%s: a group's connection: %v", version, got)
		}
		if got := r.ok("GET", "/connections", "volume_names=v1", nil).Items; len(got) != 2 {
			t.Errorf("%s: %v", version, got)
		}
	}
}

func TestHostsAreFoundByNQN(t *testing.T) {
	r := newRig(t, flasharray.Options{})
	r.AddHost("h1", "nqn.2014-08.org:1")
	r.AddHost("h2", "nqn.2014-08.org:2", "nqn.2014-08.org:3")
	if got := r.ok("GET", "/hosts", "filter=nqns='nqn.2014-08.org:3'", nil).names(); !reflect.DeepEqual(got, []string{"h2"}) {
		t.Error(got)
	}
	if got := r.ok("GET", "/hosts", "filter=nqns='nqn.2014-08.org'", nil).names(); got != nil {
		t.Error(got)
	}
}

func TestTags(t *testing.T) {
	r := newRig(t, flasharray.Options{})
	r.AddVolumes("v", 1, 1<<20)
	id := r.Volumes()[0].ID
	r.ok("PUT", "/volumes/tags/batch", "resource_ids="+id,
		[]m{{"namespace": "ns", "key": "a", "value": "1", "copyable": false}, {"namespace": "ns", "key": "b", "value": "2"}, {"key": "a", "value": "3"}})
	r.ok("PUT", "/volumes/tags/batch", "resource_names=v1", []m{{"namespace": "ns", "key": "a", "value": "4", "copyable": false}})
	if got := r.ok("GET", "/volumes/tags", "resource_names=v1&namespaces=ns", nil).Items; len(got) != 2 || got[0]["value"] != "4" {
		t.Error(got)
	}
	if got := r.ok("GET", "/volumes/tags", "resource_names=v1", nil).Items; len(got) != 1 || got[0]["value"] != "3" {
		t.Error("the default namespace:", got)
	}
	r.ok("POST", "/volumes", "names=copy", m{"source": m{"name": "v1"}})
	if c, _ := r.Volume("copy"); !reflect.DeepEqual(c.Tags, map[string]string{"ns/b": "2", "default/a": "3"}) {
		t.Error("a copy's tags:", c.Tags)
	}
	r.ok("DELETE", "/volumes/tags", "resource_ids="+id+"&namespaces=ns&keys=a,b", nil)
	if v, _ := r.Volume("v1"); !reflect.DeepEqual(v.Tags, map[string]string{"default/a": "3"}) {
		t.Error(v.Tags)
	}
}

func TestQuotaMayBeNull(t *testing.T) {
	r := newRig(t, flasharray.Options{})
	r.AddPod("free", 0)
	r.AddPod("limited", 5<<40)
	got := r.ok("GET", "/pods", "", nil).Items
	if got[0]["quota_limit"] != nil || got[1]["quota_limit"] != float64(5<<40) {
		t.Error(got)
	}
}
