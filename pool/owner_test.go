package pool

import (
	"strings"
	"testing"
)

func TestHeldErrorNamesTheOwner(t *testing.T) {
	for name, says := range map[string]string{"web": "host kvm02 for domain web (", CopyOwner: "host kvm02 for a copy of an image ("} {
		err := &HeldError{Pool: "fast", Volume: "v", Holders: []Holder{{Host: Host{Name: "kvm02"}, Owner: Owner{Name: name}}}}
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q, want %q in it", err, says)
		}
	}
}
