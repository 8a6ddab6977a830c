package blockdev

import (
	"path/filepath"
	"strconv"
)

// DRBDIdentity is the identity of a volume of a resource.
func DRBDIdentity(resource string, volume int) Identity {
	return Identity(resource + "/" + strconv.Itoa(volume))
}

// DRBDPath is the path of a volume of a resource, the same on every host. The
// udev rule of drbd-utils makes it.
func DRBDPath(resource string, volume int) string {
	return filepath.Join("/dev/drbd/by-res", resource, strconv.Itoa(volume))
}
