package flasharray

import (
	"strings"
	"testing"

	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool/pooltest"
)

func TestConformance(t *testing.T) {
	conformance(t, lab.Options{}, func(s *Settings) {})
}

func TestConformanceInPod(t *testing.T) {
	conformance(t, lab.Options{Version: "2.26"}, func(s *Settings) { s.Pod = "pod1" })
}

func TestConformanceOfHostGroup(t *testing.T) {
	conformance(t, lab.Options{}, func(s *Settings) { s.HostGroup = "group1" })
}

// TestConformanceWithoutSession: no process knows what another was told.
func TestConformanceWithoutSession(t *testing.T) {
	conformance(t, lab.Options{}, func(s *Settings) { s.SessionDir = "" })
}

func conformance(t *testing.T, o lab.Options, set func(*Settings)) {
	pooltest.Run(t, func(t *testing.T) pooltest.Fixture {
		r := newRig(t, o)
		set(r.settings)
		return pooltest.Fixture{
			Driver:    Driver,
			Pool:      "flash",
			Settings:  r.settings,
			GoodNames: []string{"a", "1-1", "Vm1-Disk_0", strings.Repeat("x", 63)},
			FoldsCase: true,
		}
	})
}
