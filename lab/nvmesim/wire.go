package nvmesim

import "path/filepath"

// Where things are in a host.
const (
	// Marker is there in hosts whose NVMe is played.
	Marker = "/etc/volbridge-lab-nvme"
	// SysRoot is the host's sysfs: /sys with the parts that concern NVMe played.
	SysRoot = "/run/volbridge-lab/sys"
	// truths holds one file for each node: what is really behind it.
	truths = "/run/volbridge-lab/namespaces"
	// FabricsNode is looked for before anything is connected.
	FabricsNode = "/dev/nvme-fabrics"
)

// TruthFile is where a target writes what is behind a node, such as nvme0n1.
func TruthFile(node string) string { return filepath.Join(truths, filepath.Base(node)+".json") }

// Truth is what a namespace says of itself when it is asked. All zero: there is
// none at this NSID any more.
type Truth struct {
	NGUID, UUID string
	SizeBytes   int64
}

// Hello is what a host says to a portal, one line of JSON; the portal answers
// with a Welcome.
type Hello struct {
	Host         string // the host's name in the lab
	HostNQN      string
	HostID       string
	SubsystemNQN string
}

// Welcome is the answer. Either Controller or Refusal is set.
type Welcome struct {
	Controller string // such as nvme0
	There      bool   // the host was connected through this portal already
	Refusal    string
}
