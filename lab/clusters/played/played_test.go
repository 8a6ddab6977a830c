package played

import (
	"reflect"
	"testing"

	"github.com/volbridge/volbridge/blockdev"
)

// A machine without the marker is as it is.
func TestMachineThatIsNoHostOfALab(t *testing.T) {
	if m := Machine(blockdev.System()); m.DRBDTools != "" || m.DRBDNode != nil || !reflect.DeepEqual(m, blockdev.System()) {
		t.Errorf("%+v", m)
	}
}
