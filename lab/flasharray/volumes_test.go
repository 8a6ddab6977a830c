package flasharray_test

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/lab/flasharray"
)

func TestAVolumesLife(t *testing.T) {
	r := newRig(t, flasharray.Options{})
	v := r.ok("POST", "/volumes", "names=Vol-1&overwrite=false&with_default_protection=false", m{"provisioned": 1 << 30}).Items[0]
	if serial := v["serial"].(string); !regexp.MustCompile(`^[0-9A-F]{24}$`).MatchString(serial) {
		t.Errorf("serial %q", serial)
	}
	if got := r.ok("GET", "/volumes", "names=vol-1", nil).names(); !reflect.DeepEqual(got, []string{"Vol-1"}) {
		t.Errorf("by name in another case: %v", got)
	}
	r.ok("PATCH", "/volumes", "names=Vol-1", m{"name": "vol-2"})
	r.ok("PATCH", "/volumes", "ids="+v["id"].(string), m{"provisioned": 2 << 30})
	r.ok("PATCH", "/volumes", "names=vol-2", m{"destroyed": true})
	if s, _ := r.Volume("vol-2"); !s.Destroyed || s.SizeBytes != 2<<30 {
		t.Errorf("%+v", s)
	}
	r.ok("DELETE", "/volumes", "names=vol-2", nil)
	if left := r.Volumes(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestWhatTheArrayRefuses(t *testing.T) {
	r := newRig(t, flasharray.Options{TagLimit: 2})
	r.AddPod("pod1", 10<<20)
	r.AddVolumes("old", 2, 1<<30)
	r.AddHost("kvm01", "nqn.kvm01")
	r.ok("PATCH", "/volumes", "names=old2", m{"destroyed": true})
	r.ok("POST", "/connections", "host_names=kvm01&volume_names=old1", nil)
	for _, c := range []struct {
		method, path, query string
		body                any
		want                string
	}{
		{"POST", "/volumes", "names=OLD1", m{"provisioned": 1 << 30}, "Volume already exists."},
		{"POST", "/volumes", "names=old2", m{"provisioned": 1 << 30}, "Volume already exists."},
		{"POST", "/volumes", "names=new", m{"provisioned": 1<<30 + 1}, "multiple of 512"},
		{"POST", "/volumes", "names=new", m{"provisioned": 512}, "between"},
		{"POST", "/volumes", "names=-new", m{"provisioned": 1 << 30}, "Invalid volume name"},
		{"POST", "/volumes", "names=123", m{"provisioned": 1 << 30}, "Invalid volume name"},
		{"POST", "/volumes", "names=" + strings.Repeat("a", 64), m{"provisioned": 1 << 30}, "Invalid volume name"},
		{"POST", "/volumes", "names=no::new", m{"provisioned": 1 << 30}, "Pod does not exist."},
		{"POST", "/volumes", "names=pod1::new", m{"provisioned": 11 << 20}, "quota limit reached"},
		{"POST", "/volumes", "names=new&nonsense=1", m{"provisioned": 1 << 30}, "Invalid query parameter"},
		{"POST", "/volumes", "names=new", m{"provisionned": 1 << 30}, "Invalid request body"},
		{"POST", "/volumes", "names=old1", m{"source": m{"name": "old1"}}, "Volume already exists."},
		{"POST", "/volumes", "names=new", m{"source": m{"name": "old2"}}, "has been destroyed"},
		{"GET", "/volumes", "names=none", nil, "Volume does not exist."},
		{"GET", "/volumes", "filter=name~1", nil, "Invalid filter"},
		{"GET", "/volumes", "continuation_token=x", nil, "Invalid continuation token"},
		{"PATCH", "/volumes", "names=old1", m{"provisioned": 1 << 20}, "Implicit truncation"},
		{"PATCH", "/volumes", "names=old1", m{"destroyed": true}, "existing connections"},
		{"PATCH", "/volumes", "names=old1", m{"name": "old2"}, "Volume already exists."},
		{"PATCH", "/volumes", "names=old1", m{"name": "pod1::old1"}, "cannot be moved"},
		{"PATCH", "/volumes", "names=old2", m{"provisioned": 2 << 30}, "Volume has been destroyed."},
		{"PATCH", "/volumes", "names=old2", m{"destroyed": true}, "Volume has been deleted."},
		{"DELETE", "/volumes", "names=old1", nil, "not destroyed"},
		{"POST", "/connections", "host_names=kvm01&volume_names=old1", nil, "Connection already exists."},
		{"POST", "/connections", "host_names=kvm01&volume_names=old2", nil, "Volume has been destroyed."},
		{"POST", "/connections", "host_names=kvm09&volume_names=old1", nil, "Host does not exist."},
		{"POST", "/connections", "host_names=kvm01&volume_ids=x", nil, "Volume does not exist."},
		{"POST", "/hosts", "names=kvm02", m{"nqns": []string{"nqn.kvm01"}}, "already in use"},
		{"POST", "/hosts", "names=kvm02", m{"nqns": []string{"n"}, "iqns": []string{"i"}}, "one kind"},
		{"POST", "/hosts", "names=KVM01", m{}, "Host already exists."},
		{"DELETE", "/hosts", "names=kvm01", nil, "existing connections"},
		{"PUT", "/volumes/tags/batch", "resource_names=old1", []m{{"key": "a"}, {"key": "b"}, {"key": "c"}}, "limit reached"},
		{"PUT", "/volumes/tags/batch", "resource_names=old1", []m{{"key": strings.Repeat("k", 65)}}, "tag key"},
		{"PUT", "/volumes/tags/batch", "resource_names=old1", []m{{"key": "k", "value": strings.Repeat("v", 257)}}, "tag value"},
		{"PUT", "/volumes/tags/batch", "resource_names=none", []m{{"key": "k"}}, "Volume does not exist."},
		{"DELETE", "/volumes/tags", "resource_names=old1&keys=none", nil, "Tag does not exist."},
		{"GET", "/pods", "names=none", nil, "Pod does not exist."},
	} {
		if got := r.refused(c.method, c.path, c.query, c.body); !strings.Contains(got, c.want) {
			t.Errorf("%s %s?%s: %q, want %q", c.method, c.path, c.query, got, c.want)
		}
	}
	if n := len(r.Volumes()); n != 2 {
		t.Errorf("%d volumes, want the two from before", n)
	}
}

func TestSafeModeKeepsWhatIsDestroyed(t *testing.T) {
	r := newRig(t, flasharray.Options{SafeMode: true})
	r.ok("POST", "/volumes", "names=v1&with_default_protection=false", m{"provisioned": 1 << 20})
	r.ok("PATCH", "/volumes", "names=v1", m{"destroyed": true})
	if got := r.refused("DELETE", "/volumes", "names=v1", nil); got != "Eradication is disabled." {
		t.Error(got)
	}
	r.SetSafeMode(false)
	r.ok("DELETE", "/volumes", "names=v1", nil)
	r.ok("POST", "/volumes", "names=v2", m{"provisioned": 1 << 20})
	r.ok("PATCH", "/volumes", "names=v2", m{"destroyed": true})
	if got := r.refused("DELETE", "/volumes", "names=v2", nil); got != "Eradication is disabled." {
		t.Error("default protection:", got)
	}
}

func TestPagesAreWhole(t *testing.T) {
	r := newRig(t, flasharray.Options{PageLimit: 7})
	r.AddVolumes("v", 40, 1<<20)
	for _, query := range []string{"limit=5", "limit=100", "limit=5&sort=provisioned", "limit=5&sort=name-", "limit=3&filter=name='v*'"} {
		seen := map[string]int{}
		next := query
		for {
			l := r.ok("GET", "/volumes", next, nil)
			for _, n := range l.names() {
				seen[n]++
			}
			if len(l.Items) > 7 {
				t.Fatalf("%s: a page of %d", query, len(l.Items))
			}
			if !l.More {
				break
			}
			next = query + "&continuation_token=" + l.Token
		}
		if len(seen) != 40 {
			t.Errorf("%s: %d volumes", query, len(seen))
		}
		for n, times := range seen {
			if times != 1 {
				t.Errorf("%s: %s was seen %d times", query, n, times)
			}
		}
	}
	if l := r.ok("GET", "/volumes", "limit=0", nil); l.Total == nil || *l.Total != 40 || len(l.Items) > 0 {
		t.Errorf("limit=0: %+v", l)
	}
}

func TestAPageGoesOnAfterItsLastItemIsGone(t *testing.T) {
	r := newRig(t, flasharray.Options{})
	r.AddVolumes("v", 4, 1<<20)
	l := r.ok("GET", "/volumes", "limit=2", nil)
	for _, n := range l.names() {
		r.ok("PATCH", "/volumes", "names="+n, m{"name": "a-" + n})
	}
	if got := r.ok("GET", "/volumes", "limit=2&continuation_token="+l.Token, nil).names(); !slices.Equal(got, []string{"v3", "v4"}) {
		t.Error(got)
	}
}

func TestFilters(t *testing.T) {
	r := newRig(t, flasharray.Options{})
	r.AddPod("p", 0)
	r.AddVolumes("vol", 3, 1<<20)
	r.AddVolumes("p::vol", 2, 1<<20)
	r.ok("PATCH", "/volumes", "names=vol3", m{"destroyed": true})
	serial, _ := r.Volume("vol2")
	for filter, want := range map[string]string{
		"serial='" + serial.Serial + "'":                  "vol2",
		"serial='" + strings.ToLower(serial.Serial) + "'": "vol2",
		"serial='0'": "",
		"serial='" + serial.Serial + "' and destroyed='true'": "",
		"name='vol*'":                       "vol1 vol2 vol3",
		"name='p::*' and destroyed='false'": "p::vol1 p::vol2",
		"pod.name='p'":                      "p::vol1 p::vol2",
		"name=('vol1','p::vol2')":           "p::vol2 vol1",
		"name!='vol*'":                      "p::vol1 p::vol2",
		"destroyed=true":                    "vol3",
		"name='VOL1'":                       "vol1",
	} {
		if got := strings.Join(r.ok("GET", "/volumes", "filter="+filter, nil).names(), " "); got != want {
			t.Errorf("%s: %q, want %q", filter, got, want)
		}
	}
}

func TestManyVolumesAreCheap(t *testing.T) {
	r := newRig(t, flasharray.Options{})
	r.AddVolumes("v", 100_000, 1<<20)
	v, _ := r.Volume("v77777")
	perRun := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if got := r.ok("GET", "/volumes", "filter=serial='"+v.Serial+"'", nil).names(); len(got) != 1 || got[0] != v.Name {
				b.Fatal(got)
			}
		}
	})
	t.Log("look-up by serial among 100,000:", perRun)
	if perRun.NsPerOp() > 20e6 { // one pass over all would take more
		t.Errorf("a look-up takes %d ns", perRun.NsPerOp())
	}
}
