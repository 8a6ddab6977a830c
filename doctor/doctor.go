// Package doctor looks at a host and says what keeps volbridge from working
// there, and with which commands it is put right. It changes nothing.
//
// A check is a pure function of an Env: the host's files, programs, pools and
// libvirt as they are given to it, so that tests can plant faults. One fault
// makes one finding: a check whose question has no answer because of what
// another check reports is skipped and says which one.
package doctor

import "context"

// Level of a finding.
type Level int

// The levels, from the best to the worst.
const (
	OK Level = iota
	Skipped
	Warn
	Fail
)

// String is how people and programs read it.
func (l Level) String() string { return [...]string{"ok", "skip", "warn", "fail"}[l] }

// MarshalText implements encoding.TextMarshaler.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Finding is one thing that a check saw.
type Finding struct {
	Level Level  `json:"level"`
	Seen  string `json:"seen"`
	// Remedy says in words what to do; Commands do it, one after the other, in
	// a shell of root on this host. Where nobody can know the right command,
	// there is none.
	Remedy   string   `json:"remedy,omitempty"`
	Commands []string `json:"commands,omitempty"`
}

// Check is one question about a host.
type Check struct {
	ID    string // stable: people and monitoring name it
	Title string // what is right when nothing is found
	Run   func(ctx context.Context, e *Env) []Finding
}

// All are the checks, in the order in which they are shown.
func All() []Check {
	return []Check{
		{"config", "the configuration is read and trusted", checkConfig},
		{"credentials", "secrets are in files that root alone can read", checkCredentials},
		{"run-dir", "the folders of volbridge belong to root alone", checkDirs},
		{"state", "the state file is sound", checkState},
		{"disk-space", "there is room to record what is done", checkSpace},
		{"hook", "the hook is installed, and of the command's build", checkHook},
		{"hook-daemon", "libvirt's daemon calls the hook", checkHookDaemon},
		{"hook-scripts", "other hook scripts leave it alone", checkHookScripts},
		{"libvirt", "libvirt answers, in a version that is supported", checkLibvirt},
		{"qemu", "QEMU and its tools are installed", checkQEMU},
		{"apparmor", "AppArmor lets libvirt call the hook", checkAppArmor},
		{"selinux", "SELinux lets libvirt call the hook", checkSELinux},
		{"modules", "the kernel has the drivers of the pools", checkModules},
		{"nvme-multipath", "the kernel joins the paths of an NVMe namespace", checkNVMeMultipath},
		{"drbd", "DRBD and its tools are there and fit each other", checkDRBD},
		{"host-id", "this host has an id of its own", checkHostID},
		{"host-nqn", "this host has an NVMe name of its own", checkHostNQN},
		{"pools", "each pool answers and knows this host", checkPools},
		{"portals", "the storage is reached over the network", checkPortals},
		{"clock", "this host and the storage agree on the time", checkClock},
		{"clock-sync", "this host's clock is kept right", checkClockSync},
		{"udev", "udev runs and has the rule of volbridge", checkUdev},
		{"udev-links", "each attached volume is at its path", checkLinks},
		{"multipath", "dm-multipath leaves the volumes alone", checkMultipath},
		{"lvm", "LVM of this host leaves the guests' disks alone", checkLVM},
		{"leftovers", "nothing is left that 'volbridge recover' returns", checkLeftovers},
		{"recover-timer", "'volbridge recover' is run by itself", checkTimer},
		{"peer", "the host of --peer serves the same pools", checkPeer},
	}
}

// skip is the one finding of a check that cannot say anything.
func skip(why string) []Finding { return []Finding{{Level: Skipped, Seen: why}} }

// found is the list without the findings that are OK.
func found(all ...Finding) (list []Finding) {
	for _, f := range all {
		if f.Level > OK {
			list = append(list, f)
		}
	}
	return list
}
