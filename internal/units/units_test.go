package units

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseSize(t *testing.T) {
	for _, c := range []struct {
		in   string
		want int64
	}{
		{"0B", 0}, {"512B", 512}, {"1KiB", 1024}, {"8MiB", 8 << 20}, {"10GiB", 10 << 30}, {"2TiB", 2 << 40},
		{"1KB", 1000}, {"3MB", 3e6}, {"4GB", 4e9}, {"5TB", 5e12}, {"10 GiB", 10 << 30},
		{"9223372036854775807B", math.MaxInt64}, {"8388607TiB", 8388607 << 40},
	} {
		got, err := ParseSize(c.in)
		if err != nil || got != c.want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", c.in, got, err, c.want)
		}
	}
}

func TestParseSizeRefuses(t *testing.T) {
	for _, c := range []struct{ in, says string }{
		{"", "does not begin with a number"},
		{"GiB", "does not begin with a number"},
		{"-1GiB", "does not begin with a number"},
		{"+1GiB", "does not begin with a number"},
		{" 1GiB", "does not begin with a number"},
		{"10", "for bytes write 10B"},
		{"10 ", "has no unit"},
		{"10G", `unknown unit "G"`},
		{"10gib", `unknown unit "gib"`},
		{"1.5GiB", "unknown unit"},
		{"1e3B", "unknown unit"},
		{"0x10B", "unknown unit"},
		{"10  GiB", "unknown unit"},
		{"10GiB\n", "unknown unit"},
		{"8388608TiB", "larger than any disk"},
		{"9223372036854775808B", "larger than any disk"},
		{"99999999999999999999999TB", "larger than any disk"},
	} {
		got, err := ParseSize(c.in)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("ParseSize(%q) = %d, %v; want an error that says %q", c.in, got, err, c.says)
		}
	}
}

func TestFormatSizeIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, math.MaxInt64).Draw(t, "bytes")
		n = n >> rapid.IntRange(0, 62).Draw(t, "shift") << rapid.IntRange(0, 20).Draw(t, "zeros")
		if n < 0 {
			n = 0
		}
		back, err := ParseSize(FormatSize(n))
		if err != nil || back != n {
			t.Fatalf("%d was written %q and read back as %d, %v", n, FormatSize(n), back, err)
		}
	})
}

func TestSizesForPeople(t *testing.T) {
	for _, c := range []struct {
		n           int64
		exact, loud string
	}{
		{0, "0B", "0B"}, {512, "512B", "512B"}, {1536, "1536B", "1.5KiB"},
		{8 << 20, "8MiB", "8.0MiB"}, {10<<30 + 512, "10737418752B", "10.0GiB"}, {3 << 40, "3TiB", "3.0TiB"},
	} {
		if got := FormatSize(c.n); got != c.exact {
			t.Errorf("FormatSize(%d) = %q, want %q", c.n, got, c.exact)
		}
		if got := RoughSize(c.n); got != c.loud {
			t.Errorf("RoughSize(%d) = %q, want %q", c.n, got, c.loud)
		}
	}
}

func TestSettingsTypes(t *testing.T) {
	var v struct {
		S Size
		D Duration
	}
	if err := json.Unmarshal([]byte(`{"S":"8MiB","D":"1m30s"}`), &v); err != nil {
		t.Fatal(err)
	}
	if v.S != Size(8*MiB) || time.Duration(v.D) != 90*time.Second {
		t.Errorf("read %v and %v", v.S, v.D)
	}
	out, err := json.Marshal(v)
	if err != nil || string(out) != `{"S":"8MiB","D":"1m30s"}` {
		t.Errorf("wrote %s, %v", out, err)
	}
	if _, err := Size(-1).MarshalText(); err == nil {
		t.Error("a negative size was written")
	}
	for _, bad := range []string{`{"S":"8"}`, `{"D":"30"}`, `{"D":"-1s"}`, `{"D":"soon"}`} {
		if err := json.Unmarshal([]byte(bad), &v); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"10GiB", "1B", "", "99999999999TB", "1 KiB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSize(s)
		if err == nil && n < 0 {
			t.Fatalf("ParseSize(%q) = %d", s, n)
		}
	})
}
