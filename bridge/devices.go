package bridge

import (
	"os"

	"github.com/volbridge/volbridge/blockdev"
)

// HostDevices are the transports of a host.
type HostDevices struct{ Host blockdev.Host }

// For returns the transport of a protocol.
func (d HostDevices) For(p blockdev.Protocol) (blockdev.Transport, error) {
	return blockdev.For(d.Host, p)
}

// Present says whether anything is at a device path; what cannot be looked at
// counts as present.
func (d HostDevices) Present(path string) bool {
	if path == "" {
		return false
	}
	_, err := os.Lstat(path)
	return !os.IsNotExist(err)
}
