package dir

import (
	"fmt"
	"path/filepath"

	"github.com/volbridge/volbridge/pool"
)

// fromURL takes dir:///PATH and file:///PATH.
func fromURL(u pool.URL) (pool.Described, error) {
	if len(u.Hosts) > 0 || u.User != "" || !filepath.IsAbs(u.Path) {
		return pool.Described{}, fmt.Errorf("the URL of a folder is %s:///absolute/path, with three slashes", u.Scheme)
	}
	return pool.Described{Settings: map[string]string{"path": u.Path}}, nil
}
