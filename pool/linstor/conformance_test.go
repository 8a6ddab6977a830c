package linstor

import (
	"fmt"
	"strings"
	"testing"

	lab "github.com/volbridge/volbridge/lab/linstor"
	"github.com/volbridge/volbridge/pool/pooltest"
)

func TestConformance(t *testing.T) { conformance(t, lab.Options{}, func(*Settings) {}) }

// TestConformanceDiskful: each host gets a replica, which stays.
func TestConformanceDiskful(t *testing.T) {
	conformance(t, lab.Options{NoTieBreaker: true}, func(s *Settings) { s.Diskful = true })
}

func conformance(t *testing.T, o lab.Options, set func(*Settings)) {
	pooltest.Run(t, func(t *testing.T) pooltest.Fixture {
		r := newRig(t, o)
		set(r.settings)
		if r.settings.Diskful {
			r.giveStorage("kvm01", "kvm02", "kvm03", "other")
			for i := range 10 {
				r.giveStorage(fmt.Sprintf("racer%02d", i))
			}
		}
		return pooltest.Fixture{
			Driver:    Driver,
			Pool:      "drbd",
			Settings:  r.settings,
			GoodNames: []string{"a", "1-1", "Vm1-Disk_0", "a.b", strings.Repeat("x", 45)},
			FoldsCase: true,
			// DRBD knows no more of a resource than its name. Calls that are under
			// way are kept from a successor by the definition's UUID; see
			// TestRecreatedMeanwhile.
			NameIsIdentity: true,
		}
	})
}
