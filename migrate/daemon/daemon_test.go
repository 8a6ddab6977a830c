package daemon

import (
	"strings"
	"testing"
)

func TestLiveXMLOfAStoppedDomain(t *testing.T) {
	d := opened(t)
	dom, err := d.conn.LookupDomainByName("test")
	if err != nil {
		t.Fatal(err)
	}
	defer dom.Free()
	uuid, err := dom.GetUUIDString()
	if err != nil {
		t.Fatal(err)
	}
	if xml, err := d.LiveXML(t.Context(), uuid); err != nil || !strings.Contains(xml, uuid) {
		t.Fatalf("while it runs: %q, %v", xml, err)
	}
	if err := dom.Destroy(); err != nil {
		t.Fatal(err)
	}
	if xml, err := d.LiveXML(t.Context(), uuid); err == nil {
		t.Errorf("after its stop: %q", xml)
	}
}
