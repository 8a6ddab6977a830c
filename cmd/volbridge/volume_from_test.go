package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/image/deploy"
)

// What became of the volume of a copy that failed is said as it was.
func TestWhatBecameOfTheVolume(t *testing.T) {
	ref := volumeRef{Pool: "fast", Volume: "web"}
	for _, c := range []struct {
		made, replaced bool
		says, not      string
	}{
		{false, false, "volume fast/web was not made", "deleted"},
		{true, false, "volume fast/web was deleted again", "stays"},
		{true, true, "volume fast/web is another one by now", "deleted"},
	} {
		failed := &deploy.FailedError{Volume: "fast/web", Cause: errors.New("no space"), Replaced: c.replaced}
		said := takenBack(t.Context(), ref, c.made, failed).Error()
		if !strings.Contains(said, c.says) || strings.Contains(said, c.not) {
			t.Errorf("made %t, replaced %t: %s", c.made, c.replaced, said)
		}
	}
}
