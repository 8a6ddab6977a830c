package flasharray

import (
	"testing"
	"time"

	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool/claims"
)

// Of a list of tags one is missing: the others go nevertheless, whatever the
// array makes of such a list.
func TestDropTagsOfWhichOneIsMissing(t *testing.T) {
	for name, strict := range map[string]bool{"lenient": false, "strict": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, lab.Options{StrictTags: strict})
			b := r.open(t)
			create(t, b, "vm1")
			v, _ := r.Volume("vm1")
			keys := []string{claims.NewKey("a", time.Now()), claims.NewKey("b", time.Now()), claims.NewKey("c", time.Now())}
			must(t, b.array.putTags(t.Context(), v.ID, newTag(keys[0], "x"), newTag(keys[2], "x")))
			must(t, b.array.dropTags(t.Context(), v.ID, keys...))
			if v, _ := r.Volume("vm1"); len(v.Tags) != 1 {
				t.Errorf("left: %v, want the creation id alone", v.Tags)
			}
		})
	}
}
