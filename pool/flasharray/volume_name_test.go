package flasharray

import (
	"strings"
	"testing"
)

func TestNamesOfVolumes(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "vm-1": true, "vm_1": true, "1a": true, "1-1": true, strings.Repeat("x", 63): true,
		"": false, "1": false, "-a": false, "a-": false, "_a": false, "a.b": false, "a::b": false, "a/b": false, "a,b": false, "a*": false,
		"a'b": false, strings.Repeat("x", 64): false, "ä": false, "a\n": false,
	} {
		if err := checkName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	s := Serial("9714B5CB91634C470002B2C8")
	for _, name := range []string{comingName("vm1", "x"), leavingName("vm1", s)} {
		if checkName(name) != nil {
			t.Errorf("%s is no possible name", name)
		}
	}
	if comingName("a", "bc") == comingName("ab", "c") || !strings.HasPrefix(leavingName("vm1", s), leavingPrefix("vm1")) {
		t.Error("the names of coming and leaving volumes are not told apart")
	}
}

func TestNamesInThePool(t *testing.T) {
	for _, c := range []struct {
		pod, name, want string
		ok              bool
	}{
		{"", "vm1", "vm1", true}, {"", "pod::vm1", "", false}, {"", "group/vm1", "", false},
		{"pod", "pod::vm1", "vm1", true}, {"pod", "POD::vm1", "vm1", true}, {"pod", "vm1", "", false}, {"pod", "pod2::vm1", "", false},
		{"pod", "pod::group/vm1", "", false}, {"pod", "pod::", "", false},
	} {
		b := &backend{place: place{pod: c.pod}}
		if name, ok := b.inPool(c.name); ok != c.ok || ok && name != c.want {
			t.Errorf("pod %q, volume %q: %q, %t", c.pod, c.name, name, ok)
		}
	}
}
