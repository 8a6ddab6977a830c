// Package wire holds what the lab's processes tell each other: the library
// asks the keeper, the keeper tells each host's init.
package wire

// Operations that the keeper understands.
const (
	Boot  = "boot"  // make the host's namespaces and start its init
	Crash = "crash" // end every process of the host at once
)

// Setup is the keeper's first message: what it must clean up at the end.
type Setup struct {
	Dir        string   // the lab's scratch directory, removed at the end
	HostsFile  string   // becomes /etc/hosts in the keeper's namespace
	BridgeAddr string   // with prefix length
	Share      []string // see HostSpec.Share
}

// HostSpec describes one host.
type HostSpec struct {
	Name    string
	Index   int    // unique in the lab, from 1
	Address string // IPv4 with prefix length
	Base    string // root file system that the host's root is laid over
	LabDir  string
	HostDir string // private directories of the host live here
	LogDir  string // becomes /var/log/libvirt
	BootID  string // what this boot's boot_id reads as
	// Share lists directories of the machine that the host sees at the same
	// path.
	Share []string
}

// Request is one line from the library to the keeper.
type Request struct {
	Op   string
	Host HostSpec
}

// Reply answers one request. HostPID is the host's init as the machine sees
// it.
type Reply struct {
	HostPID int
	Error   string
}
