package main

import (
	"os/exec"
	"testing"
	"time"

	"github.com/volbridge/volbridge/internal/testenv"
)

var day = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestPackageVersion(t *testing.T) {
	for described, want := range map[string]string{
		"v1.2.3":                  "1.2.3",
		"v1.2.3-rc1":              "1.2.3~rc1",
		"v1.2.3-4-gabcdef0":       "1.2.3+4.gabcdef0",
		"v1.2.3-rc1-4-gabcdef0":   "1.2.3~rc1+4.gabcdef0",
		"v1.2.3-4-gabcdef0-dirty": "1.2.3+4.gabcdef0+dirty",
		"54c554f":                 "0~20260102.g54c554f",
		"1234567":                 "0~20260102.g1234567",
		"54c554f-dirty":           "0~20260102.g54c554f+dirty",
		"":                        "",
		"unknown":                 "",
		"-dirty":                  "",
		"v1.2.3-$(x)":             "",
	} {
		got, err := packageVersion(described, day)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("packageVersion(%q) = %q, %v, want %q", described, got, err, want)
		}
	}
}

func FuzzPackageVersion(f *testing.F) {
	f.Add("v1.2.3-4-gabcdef0-dirty")
	f.Fuzz(func(t *testing.T, described string) {
		got, err := packageVersion(described, day)
		if err == nil && !version.MatchString(got) {
			t.Errorf("packageVersion(%q) = %q", described, got)
		}
	})
}

// TestVersionsAreOrdered asks dpkg, and rpm where it is installed.
func TestVersionsAreOrdered(t *testing.T) {
	var list []string
	for _, described := range []string{"54c554f", "v0.9.0", "v1.0.0-rc1", "v1.0.0-rc1-2-gabc1", "v1.0.0-rc2", "v1.0.0", "v1.0.0-3-gfff", "v1.0.1"} {
		v, err := packageVersion(described, day)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, v)
	}
	if _, err := exec.LookPath("rpm"); err != nil {
		testenv.Missing(t, "rpm")
	}
	for i := 1; i < len(list); i++ {
		if err := exec.Command("dpkg", "--compare-versions", list[i-1]+"-1", "lt", list[i]+"-1").Run(); err != nil {
			t.Errorf("dpkg does not have %s before %s", list[i-1], list[i])
		}
		out, err := exec.Command("rpm", "--eval", "%{lua:print(rpm.vercmp('"+list[i-1]+"', '"+list[i]+"'))}").Output()
		if string(out) != "-1\n" {
			t.Errorf("rpm does not have %s before %s: %s %v", list[i-1], list[i], out, err)
		}
	}
}
