package hooks

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFacts(t *testing.T) {
	want := Facts{ID: "a", NQN: "b", Build: "v1-2 &x", Clock: time.UnixMilli(1790000000123), Pools: map[string]string{"fast": "dir 0011", "flash.1": "flasharray 22"}}
	answer := ProbeAnswer{Version: 1, Host: "kvm02", Facts: want.format()}
	back, ok := ParseProbe("libvirt's words: " + FormatProbe(answer) + "\nmore")
	if !ok || back != answer {
		t.Fatalf("%+v, %v", back, ok)
	}
	got, ok := ParseFacts(back.Facts)
	if !ok {
		t.Fatal("not understood")
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestFactsOfManyPoolsAreShort(t *testing.T) {
	f := Facts{ID: "a", Pools: map[string]string{}}
	for i := range 100 {
		f.Pools[fmt.Sprintf("pool-with-a-long-name-%d", i)] = "flasharray 001122334455"
	}
	got, ok := ParseFacts(f.format())
	if n := len(f.format()); n > maxFactsBytes || !ok || len(got.Pools) < 5 {
		t.Errorf("%d bytes, %d pools, %v", n, len(got.Pools), ok)
	}
}

// TestHostQuestion: the host says who it is without asking a pool.
func TestHostQuestion(t *testing.T) {
	h := newTestHook(t, "host_name = \"kvm02\"\nhost_id = \"x\"\n")
	h.pool(t, "fast")
	h.Build = "v9"
	xml := "<domain type='kvm'><name>volbridge-probe-1</name><uuid>" + uuid + "</uuid><devices><disk type='block'><source dev='" +
		ProbePath([]string{HostQuestion}) + "'/><target dev='vda'/></disk></devices></domain>"
	r := h.run(xml, "prepare", "begin")
	a, ok := ParseProbe(r.stderr)
	f, is := ParseFacts(a.Facts)
	if r.exit != 1 || !ok || !is || a.Host != "kvm02" || a.Refused != "" || f.ID != Digest("x") || f.Build != "v9" || !strings.HasPrefix(f.Pools["fast"], "dir ") {
		t.Errorf("%+v: %+v, %+v", r, a, f)
	}
	h.breakConfig(t)
	if a, ok := ParseProbe(h.run(xml, "prepare", "begin").stderr); !ok || a.Refused == "" {
		t.Errorf("with a broken configuration: %+v, %v", a, ok)
	}
}

func FuzzParseFacts(f *testing.F) {
	f.Add("id=a&ms=1&p=fast+dir+00")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		facts, ok := ParseFacts(text)
		if !ok {
			return
		}
		if _, again := ParseFacts(facts.format()); !again {
			t.Errorf("%+v is not understood again", facts)
		}
	})
}
