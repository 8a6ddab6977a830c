package rest

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Version is one of the array's REST interface.
type Version struct{ Major, Minor int }

var (
	// oldest has what volbridge needs: the tags of volumes (2.3), and connections
	// of a volume by its id. By its name another volume could be connected, to
	// which the name was given meanwhile. Arrays with NVMe/TCP are newer.
	oldest = Version{2, 9}
	// newest is the last whose calls were compared with those used here. An
	// array that is newer lists the older ones too.
	newest = Version{2, 56}
)

// String is "2.26".
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// AtLeast says whether v is that version or a later one.
func (v Version) AtLeast(major, minor int) bool { return v.compare(Version{major, minor}) >= 0 }

func (v Version) compare(w Version) int {
	return cmp.Or(cmp.Compare(v.Major, w.Major), cmp.Compare(v.Minor, w.Minor))
}

// parseVersion refuses the names of builds that are no release, like 2.DEV.
func parseVersion(text string) (Version, bool) {
	major, minor, ok := strings.Cut(text, ".")
	a, err := strconv.ParseUint(major, 10, 8)
	b, err2 := strconv.ParseUint(minor, 10, 16)
	return Version{int(a), int(b)}, ok && err == nil && err2 == nil
}

// best is the highest of the versions from low to high.
func best(offered []string, low, high Version) (Version, bool) {
	var list []Version
	for _, text := range offered {
		if v, ok := parseVersion(text); ok && v.compare(low) >= 0 && v.compare(high) <= 0 {
			list = append(list, v)
		}
	}
	if len(list) == 0 {
		return Version{}, false
	}
	return slices.MaxFunc(list, Version.compare), true
}

// versionList is the reply to GET /api/api_version.
type versionList struct {
	Version *[]string `json:"version"`
}

func (l *versionList) check() error {
	if l.Version == nil {
		return fmt.Errorf("it has no list of versions")
	}
	return nil
}

// offered asks which versions the array has; this needs no session.
func (c *Client) offered(ctx context.Context) ([]string, error) {
	var l versionList
	k := call{method: http.MethodGet, path: "/api/api_version"}
	err := c.repeat(ctx, true, func() error { return c.once(ctx, k, &l) })
	if err != nil {
		return nil, err
	}
	return *l.Version, nil
}

func (c *Client) negotiate(offered []string) (Version, error) {
	v, ok := best(offered, oldest, newest)
	if !ok {
		return v, fmt.Errorf("FlashArray %s: it speaks REST %s, and volbridge needs one of %s to %s: upgrade Purity//FA",
			c.base.Host, c.safe(strings.Join(offered, ", ")), oldest, newest)
	}
	return v, nil
}

// User of the session that is used, as the array calls it; "" if it did not say.
func (c *Client) User(ctx context.Context) (string, error) {
	s, _, err := c.session(ctx, "")
	return s.User, err
}

// Version of the session that is used.
func (c *Client) Version(ctx context.Context) (Version, error) {
	s, _, err := c.session(ctx, "")
	return s.Version, err
}
