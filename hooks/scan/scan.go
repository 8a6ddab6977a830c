// Package scan looks at the bytes of a domain document, without parsing it,
// for anything that could be a managed disk. It is the whole cost of the hook
// for a domain that volbridge has nothing to do with, and imports accordingly
// little: the fewer packages, the earlier it is ready; see package early of
// the hook.
package scan

import (
	"bytes"
	"os"
	"path"
	"strings"
)

// paths are what the source path of a managed disk may contain. A backend
// whose volumes are recognised by another form of path adds that form here,
// together with a mark.
var paths = []struct{ form, mark string }{
	{"/dev/volbridge/", ""}, // our device links
	// A FlashArray's volume over NVMe, SCSI and dm-multipath: only with its
	// OUI, so that a local disk never costs more than a glance.
	{"/dev/disk/by-id/nvme-eui.", pureOUI},
	{"/dev/disk/by-id/wwn-0x6" + pureOUI, ""},
	{"/dev/mapper/36" + pureOUI, ""},
	{"/dev/drbd/by-res/", ""}, // a DRBD resource
}

// pureOUI is in every address of a FlashArray's volume.
const pureOUI = "24a937"

// marks are what makes a document worth a look.
var marks = []string{
	"volbridge",     // our links, also in a path with a slash too many, and our metadata
	`type='volume'`, // may name one of our pools
	`type="volume"`,
	pureOUI,
	"24A937",
	"/drbd/", // however many slashes are before by-res
	"&#",     // a character reference may hide any of the above
}

// Managed says whether the document may have a managed disk. It errs only on
// that side, for documents in the form in which libvirt writes them: no other
// reaches a hook.
func Managed(xml []byte) bool {
	for _, m := range marks {
		if bytes.Contains(xml, []byte(m)) {
			return true
		}
	}
	return false
}

// Path says whether a source path may be that of a managed disk, however many
// slashes and dots it has.
func Path(source string) bool {
	clean := strings.ToLower(path.Clean(source))
	for _, p := range paths {
		if strings.Contains(clean, p.form) && strings.Contains(clean, p.mark) {
			return true
		}
	}
	return false
}

// UUID returns the domain's UUID as the document has it, in lower case, and
// "" if it has none in libvirt's form.
func UUID(xml []byte) string {
	_, rest, found := bytes.Cut(xml, []byte("<uuid>"))
	if !found {
		return ""
	}
	text, _, found := bytes.Cut(rest[:min(len(rest), 64)], []byte("</uuid>"))
	uuid := strings.ToLower(strings.TrimSpace(string(text)))
	if !found || !isUUID(uuid) {
		return ""
	}
	return uuid
}

// isUUID: 36 characters, hexadecimal in groups of 8-4-4-4-12.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
		if dash != (c == '-') || !dash && !hex {
			return false
		}
	}
	return true
}

// HintDir is where the hints of domains with records are, on every host.
const HintDir = "/run/volbridge/domains"

// Hinted says whether a domain may have records of what it has on this host.
// Only a hint that is known not to be there says no.
func Hinted(dir, uuid string) bool {
	if uuid == "" {
		return true
	}
	_, err := os.Lstat(dir + "/" + uuid)
	return !os.IsNotExist(err)
}
