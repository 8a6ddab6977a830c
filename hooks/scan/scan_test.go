package scan

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/volbridge/volbridge/domainxml"
)

const uuid = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"

func TestManaged(t *testing.T) {
	for name, c := range map[string]struct {
		xml  string
		want bool
	}{
		"nothing":             {"<domain><disk type='file'><source file='/a'/></disk></domain>", false},
		"empty":               {"", false},
		"metadata":            {"<v:domain xmlns:v='" + domainxml.Namespace + "'/>", true},
		"link":                {"<source dev='/dev/volbridge/fast/web1'/>", true},
		"volume":              {"<disk type='volume'>", true},
		"volume, other quote": {`<disk device="disk" type="volume">`, true},
		"reference":           {"<source dev='/dev&#x2f;volbridge/fast/web1'/>", true},
		"flasharray, nvme":    {"<source dev='/dev/disk/by-id/nvme-eui.009714b5cb91634c24a937470002b2c8'/>", true},
		"drbd":                {"<source dev='/dev/drbd/by-res/r0/0'/>", true},
		"drbd, more slashes":  {"<source dev='/dev//drbd//by-res/r0/0'/>", true},
		"local nvme":          {"<source dev='/dev/disk/by-id/nvme-eui.0025388b910d1234'/>", false},
		"named entity only":   {"<title>a &amp; b</title>", false},
	} {
		if got := Managed([]byte(c.xml)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestPath(t *testing.T) {
	for source, want := range map[string]bool{
		"/dev/volbridge/fast/web1":                                  true,
		"/dev//volbridge/fast/web1":                                 true,
		"/dev/disk/by-id/nvme-eui.009714b5cb91634c24a937470002b2c8": true,
		"/dev/disk/by-id/nvme-eui.009714B5CB91634C24A937470002B2C8": true,
		"/dev/disk/by-id/nvme-eui.0025388b910d1234":                 false,
		"/dev/disk/by-id/wwn-0x624a93709714b5cb91634c470002b2c8":    true,
		"/dev/disk/by-id/wwn-0x5000c500a1b2c3d4":                    false,
		"/dev/mapper/3624a93709714b5cb91634c470002b2c8":             true,
		"/dev/mapper/vg-24a937":                                     false,
		"/dev/drbd/by-res/r0/0":                                     true,
		"/dev//drbd/by-res//r0/0":                                   true,
		"/dev/drbd0":                                                false,
		"/var/lib/libvirt/images/24a937.qcow2":                      false,
	} {
		if got := Path(source); got != want {
			t.Errorf("%s: %v", source, got)
		}
	}
}

func TestUUID(t *testing.T) {
	for xml, want := range map[string]string{
		"<domain><name>a</name><uuid>" + uuid + "</uuid></domain>": uuid,
		"<uuid>4DEA22B3-1D52-D8F3-2516-782E98AB3FA0</uuid>":        uuid,
		"<uuid>\n " + uuid + "</uuid>":                             uuid,
		"<uuid>../../etc</uuid>":                                   "",
		"<uuid>4dea22b3-1d52-d8f3-2516-782e98ab3fa</uuid>":         "",
		"<uuid>4dea22b331d52-d8f3-2516-782e98ab3fa0</uuid>":        "",
		"<uuid>" + uuid: "",
		"<domain/>":     "",
		"<uuid>                                                     ": "",
	} {
		if got := UUID([]byte(xml)); got != want {
			t.Errorf("%q: %q", xml, got)
		}
	}
}

func TestIdle(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, uuid), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	managed := []byte("<domain><source dev='/dev/volbridge/a/b'/></domain>")
	hinted := []byte("<domain><uuid>" + uuid + "</uuid></domain>")
	other := []byte("<domain><uuid>00000000-0000-0000-0000-000000000001</uuid></domain>")
	nameless := []byte("<domain/>")
	for _, c := range []struct {
		op, subOp string
		xml       []byte
		idle      bool
	}{
		{"start", "begin", managed, true},
		{"started", "begin", managed, true},
		{"stopped", "end", managed, true},
		{"invented", "begin", managed, true},
		{"prepare", "end", managed, true},
		{"prepare", "begin", managed, false},
		{"migrate", "begin", managed, false},
		{"restore", "begin", managed, false},
		{"attach", "begin", managed, false},
		{"reconnect", "begin", managed, false},
		{"release", "end", managed, false},
		{"prepare", "begin", hinted, true},
		{"release", "end", hinted, false},
		{"reconnect", "begin", hinted, false},
		{"release", "end", other, true},
		{"release", "end", nameless, false},
	} {
		if got := Idle(Needs(c.op, c.subOp), c.xml, dir); got != c.idle {
			t.Errorf("%s %s on %s: idle %v", c.op, c.subOp, c.xml, got)
		}
	}
}
