package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

var (
	// What git describe --tags --always --dirty says: v1.2.3, v1.2.3-rc1,
	// v1.2.3-4-gabcdef0, abcdef0, and each with -dirty.
	tagged  = regexp.MustCompile(`^v?([0-9]+(?:\.[0-9]+)*)(?:-([A-Za-z][A-Za-z0-9.]*))?(?:-([0-9]+)-g([0-9a-f]+))?$`)
	commit  = regexp.MustCompile(`^[0-9a-f]{4,40}$`)
	version = regexp.MustCompile(`^[0-9][0-9A-Za-z.+~]*$`)
)

// packageVersion is a version that dpkg and rpm both take and order alike:
//
//	v1.2.3            1.2.3
//	v1.2.3-rc1        1.2.3~rc1        before 1.2.3
//	v1.2.3-4-gabc     1.2.3+4.gabc     after it
//	abc               0~20260102.gabc  before every release
//	…-dirty           …+dirty
func packageVersion(described string, date time.Time) (string, error) {
	clean, dirty := strings.CutSuffix(described, "-dirty")
	v := ""
	if m := tagged.FindStringSubmatch(clean); m != nil && (strings.HasPrefix(clean, "v") || strings.Contains(clean, ".")) {
		v = m[1]
		if m[2] != "" {
			v += "~" + m[2]
		}
		if m[3] != "" {
			v += "+" + m[3] + ".g" + m[4]
		}
	} else if commit.MatchString(clean) {
		v = "0~" + date.Format("20060102") + ".g" + clean
	}
	if dirty {
		v += "+dirty"
	}
	if !version.MatchString(v) {
		return "", fmt.Errorf("%q is no version: tag the commit as v1.2.3, or give what git describe --tags --always says with -version", described)
	}
	return v, nil
}
