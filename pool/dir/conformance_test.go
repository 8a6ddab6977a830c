package dir

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool/pooltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T)        { conformance(t, 512) }
func TestConformanceRounded(t *testing.T) { conformance(t, 8*units.MiB) }

func conformance(t *testing.T, granularity int64) {
	pooltest.Run(t, func(t *testing.T) pooltest.Fixture {
		return pooltest.Fixture{
			Driver:    Driver,
			Pool:      "pool1",
			Settings:  &Settings{Path: t.TempDir(), Granularity: units.Size(granularity)},
			GoodNames: []string{"a+b_c.d-e=f@g:h", "0", "_", strings.Repeat("x", maxNameBytes)},
		}
	})
}
