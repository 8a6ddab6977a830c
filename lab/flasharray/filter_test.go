package flasharray

import "testing"

func FuzzFilter(f *testing.F) {
	for _, s := range []string{"name='a'", "name=('a','b') and x!=1", "a.b='c*'", `name='it\'s'`, "name=(", "= and"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, bad := parseFilter(text)
		if bad != nil && parsed != nil {
			t.Fatalf("%q: both a filter and an error", text)
		}
		parsed.matches(object{"name": "x", "a": object{"b": "c"}, "nqns": []string{"y"}})
	})
}
