package flasharray

import (
	"testing"

	lab "github.com/volbridge/volbridge/lab/flasharray"
)

// A volume that an administrator made and showed to the pool's host group is
// not taken from the hosts by deleting it.
func TestDeleteOfAVolumeOfOthersInAHostGroup(t *testing.T) {
	r := newRig(t, lab.Options{})
	r.settings.HostGroup = "group1"
	r.AddVolumes("theirs", 1, mib)
	must(t, r.ConnectGroup("group1", "theirs1"))
	wantError(t, "delete", r.open(t).Delete(t.Context(), "theirs1", ""), "volbridge did not connect")
	v, there := r.Volume("theirs1")
	if !there || v.Destroyed || len(v.Groups) != 1 {
		t.Errorf("%+v", v)
	}
}
