package lazyregexp

import (
	"strings"
	"testing"
)

func TestAtMost(t *testing.T) {
	r := New(`^[a-z]+$`).AtMost(3)
	for text, want := range map[string]bool{"": false, "a": true, "abc": true, "abcd": false, "ab1": false} {
		if got := r.MatchString(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if !New(`^[a-z]+$`).MatchString(strings.Repeat("a", 1000)) {
		t.Error("without AtMost a long text does not match")
	}
}

func TestFind(t *testing.T) {
	r := New(`([a-z])([0-9])`)
	if at := r.FindIndex([]byte("--a1")); len(at) != 2 || at[0] != 2 {
		t.Errorf("FindIndex: %v", at)
	}
	if m := r.FindSubmatch([]byte("a1b2")); len(m) != 3 || string(m[2]) != "1" {
		t.Errorf("FindSubmatch: %q", m)
	}
	if m := r.FindStringSubmatch("a1b2"); len(m) != 3 || m[1] != "a" {
		t.Errorf("FindStringSubmatch: %q", m)
	}
	if m := r.FindAllSubmatch([]byte("a1b2"), -1); len(m) != 2 || string(m[1][1]) != "b" {
		t.Errorf("FindAllSubmatch: %q", m)
	}
}

// TestWrong: in tests an expression that cannot be compiled shows at once.
func TestWrong(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a wrong expression did not panic")
		}
	}()
	New(`(`)
}
