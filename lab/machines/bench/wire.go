package main

import "time"

// spec is what the bench tells its part in a machine, as the first line.
type spec struct {
	Array    string // address of the array's management
	ArrayCA  string // file
	ProxyCA  string // file to be made, for who talks to the proxy
	Token    string
	Host     string // as the array knows it
	Volume   string
	NGUID    string
	Domain   string
	XMLFile  string
	NQN      string // of the subsystem
	HostNQN  string
	Portals  []string
	HookFile string
}

func (s spec) link() string { return "/dev/disk/by-id/nvme-eui." + s.NGUID }

// proxyAddress is where the part in the machine stands between volbridge and
// the array.
const proxyAddress = "127.0.0.1:8443"

// way is how a namespace is attached. The bench says one with each further
// line.
type way string

const (
	byNobody    way = "nobody"      // the namespace comes by itself
	byConnect   way = "nvme"        // nvme connect, to both portals at once
	byVolbridge way = "volbridge"   // the hook, as libvirt calls it
	byBrick     way = "os-brick"    // connect_volume
	byReleasing way = "release end" // the hook; nothing is attached
)

// times are when things happened, by the machine's monotonic clock.
type times struct {
	// Acknowledged is when the array's reply to the connection was read.
	Acknowledged time.Duration
	// Linked is when the link by NGUID was there.
	Linked time.Duration
	// Done is when the device was handed over.
	Done  time.Duration
	Error string
}
