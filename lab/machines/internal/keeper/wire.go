package keeper

// Setup is the keeper's first message.
type Setup struct {
	Dir       string   // the lab's scratch directory, removed at the end
	HostsFile string   // becomes /etc/hosts in the keeper's mount namespace
	Network   []string // lines for ip -batch, run in the keeper's network namespace
}

// Operations that the keeper understands.
const (
	Boot = "boot" // start a machine
	Kill = "kill" // end it as a power cut does; also one that has ended
)

// Request is one line from the library to the keeper.
type Request struct {
	Op   string
	Name string   // of the machine
	Argv []string // Boot: its QEMU
	Log  string   // Boot: file for what QEMU says
}

// Reply answers one request.
type Reply struct {
	PID   int    // Boot: the machine's QEMU
	Ended string // Kill: how it ended, such as "signal: killed"; "" if it was off
	Error string
}
