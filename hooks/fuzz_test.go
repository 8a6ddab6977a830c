package hooks

import (
	"strings"
	"testing"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/hooks/scan"
)

// FuzzScanMissesNothing: what is relevant once a document is parsed, the scan
// of its bytes must have let through.
func FuzzScanMissesNothing(f *testing.F) {
	for _, disk := range []string{
		"<disk type='block'><source dev='/dev/volbridge/fast/web'/><target dev='vda'/></disk>",
		"<disk type='block'><source dev='/dev//volbridge/./fast/web'/><target dev='vda'/></disk>",
		"<disk type='block'><source dev='/dev/x/../volbridge/fast/web'/><target dev='vda'/></disk>",
		"<disk type='block'><source dev='/dev/v&#x6f;lbridge/fast/web'/><target dev='vda'/></disk>",
		"<disk type='volume'><source pool='fast' volume='web'/><target dev='vda'/></disk>",
		"<disk type='file'><source file='/x'/><target dev='vda'/></disk>",
	} {
		f.Add("<domain><name>web</name><devices>" + disk + "</devices></domain>")
	}
	f.Add("<domain><metadata><v:domain xmlns:v='urn:volbridge:domain:1'/></metadata></domain>")
	f.Fuzz(func(t *testing.T, xml string) {
		doc, err := domainxml.Parse([]byte(xml))
		// libvirt writes attributes without spaces around the equals sign.
		if err != nil || strings.Contains(xml, "type =") || strings.Contains(xml, "= ") || !relevant(doc, func(string) bool { return true }) {
			return
		}
		if !scan.Managed([]byte(xml)) {
			t.Errorf("the scan takes this for unmanaged: %q", xml)
		}
	})
}

// FuzzParseProbe reads an answer out of whatever libvirt puts around it.
func FuzzParseProbe(f *testing.F) {
	f.Add("", "internal error: ", "pool \"fast\": gone")
	f.Add("kvm02", "volbridge-probe: version=9 host= ", "\n")
	f.Fuzz(func(t *testing.T, host, around, refused string) {
		want := ProbeAnswer{Version: probeVersion, Host: strings.Join(strings.Fields(host), ""), Refused: strings.Join(strings.Fields(refused), " ")}
		_, _ = ParseProbe(around)
		got, ok := ParseProbe(FormatProbe(want))
		if !ok || got != want {
			t.Errorf("%+v came back as %+v, %v", want, got, ok)
		}
	})
}
