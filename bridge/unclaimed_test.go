package bridge

import (
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
)

// A volume of an array that no pool claims starts unmanaged, and the journal
// says what is missing. A local disk is nobody's business.
func TestUnclaimedVolumeOfAnArray(t *testing.T) {
	for source, warns := range map[string]bool{
		"/dev/disk/by-id/nvme-eui.009714b5cb91634c24a937470002b2c8":  true,
		"/dev//disk/by-id/nvme-eui.009714B5CB91634C24A937470002B2C8": true,
		"/dev/mapper/3624a93709714b5cb91634c470002b2c8":              true,
		"/dev/disk/by-id/wwn-0x624a93709714b5cb91634c470002b2c8":     true,
		"/dev/disk/by-id/nvme-eui.0025385971b0a1c2":                  false,
		"/dev/disk/by-id/wwn-0x5000c500a1b2c3d4":                     false,
		"/dev/sda":                                                   false,
		"/dev/volbridge/fast/web1":                                   false, // managed
	} {
		w := newWorld(t, "fast/web1")
		h := w.host("kvm01")
		logger, said := logtest.NewNullLogger()
		h.Log = logrus.NewEntry(logger)
		err := h.Start(t.Context(), domain(t, uuid1, "", "type='block'|<driver name='qemu' type='raw'/><source dev='"+source+"'/>"))
		if err != nil {
			t.Errorf("%s: %v", source, err)
		}
		var warnings []string
		for _, e := range said.AllEntries() {
			if e.Level == logrus.WarnLevel {
				warnings = append(warnings, e.Message)
			}
		}
		text := strings.Join(warnings, "\n")
		if warns != strings.Contains(text, "volume of a FlashArray ("+source+") that no configured pool of host kvm01 has") || !warns && text != "" {
			t.Errorf("%s: warned %q", source, text)
		}
	}
}
