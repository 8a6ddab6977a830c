package bridge

import (
	"strings"
	"testing"
)

// TestPathsWithSlashesTooMany: such a path leads to a volume's device, which a
// host group shows to every host. So it is recognised, and refused in this form.
func TestPathsWithSlashesTooMany(t *testing.T) {
	for _, source := range []string{"/dev/disk//by-id/nvme-eui.fake-a", "/dev/disk/by-id/../by-id/nvme-eui.fake-a", "/dev/./disk/by-id/nvme-eui.fake-a"} {
		w := newWorld(t, "array/a")
		h := w.host("kvm01")
		doc := domain(t, uuid1, "", strings.Replace(block("array/a"), arrayDir+"a", source, 1))
		wantError(t, h.Start(t.Context(), doc), "array/a", arrayDir+"a")
		if _, granted := w.has("kvm01", "array/a"); granted {
			t.Errorf("%s: granted", source)
		}
	}
}
