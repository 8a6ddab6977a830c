package drivers

import "testing"

func TestDriversAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range All {
		if d.Type == "" || d.Settings == nil || d.Check == nil || d.Open == nil {
			t.Errorf("driver %q lacks something: %+v", d.Type, d)
		}
		if seen[d.Type] {
			t.Errorf("two drivers of type %q", d.Type)
		}
		seen[d.Type] = true
	}
}
