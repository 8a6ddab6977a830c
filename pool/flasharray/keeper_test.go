package flasharray

import (
	"regexp"
	"strings"
	"testing"

	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool"
)

// What is said before a deletion is how the array calls the volume after it.
func TestKeepsDeleted(t *testing.T) {
	r := newRig(t, lab.Options{})
	var b pool.Backend = r.open(t)
	says := b.(pool.Keeper).KeepsDeleted("vm1")
	create(t, b.(*backend), "vm1")
	must(t, b.(*backend).Delete(t.Context(), "vm1", "mine"))
	name := strings.TrimSuffix(regexp.MustCompile(`vb-del-\S+…`).FindString(says), "…")
	if name == "" || len(r.Volumes()) != 1 || !strings.HasPrefix(r.Volumes()[0].Name, name) {
		t.Errorf("said %q; the array has %s", says, r.names())
	}
	r.settings.Eradicate = true
	if says := r.open(t).KeepsDeleted("vm1"); says != "" {
		t.Errorf("with eradicate: %q", says)
	}
}
