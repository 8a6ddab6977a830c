package flasharray

import (
	"errors"
	"testing"

	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool"
)

// A volume that somebody resizes may be made larger by another, and be deleted
// since.
func TestNotGrown(t *testing.T) {
	for name, eradicate := range map[string]bool{"destroyed": false, "eradicated": true} {
		r := newRig(t, lab.Options{})
		r.settings.Eradicate = eradicate
		b := r.open(t)
		refused := errors.New("Implicit truncation not permitted.")
		create(t, b, "vm1")
		v, err := b.find(t.Context(), "vm1")
		must(t, err)
		if err := b.notGrown(t.Context(), v, mib/2, refused); !errors.Is(err, pool.ErrShrink) {
			t.Errorf("larger meanwhile: %v", err)
		}
		if err := b.notGrown(t.Context(), v, mib, refused); !errors.Is(err, refused) {
			t.Errorf("as it was: %v", err)
		}
		must(t, b.Delete(t.Context(), "vm1", ""))
		if err := b.notGrown(t.Context(), v, 2*mib, refused); !errors.Is(err, pool.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
