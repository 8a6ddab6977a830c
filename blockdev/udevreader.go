package blockdev

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// udevReads says whether an opener of the device with this number is a worker of
// systemd-udevd that only reads it. Whenever a writer closes a device, udev looks
// at its contents anew: so it does at every stop of a guest. It writes nothing and
// loses nothing when the device goes away meanwhile. The programs that udev's
// rules start are not workers: what they have open counts.
func udevReads(h Host, o opener, rdev uint64) bool {
	if o.comm != "(udev-worker)" && o.comm != "systemd-udevd" { // the latter before systemd 250
		return false
	}
	process := filepath.Join(h.Proc, strconv.Itoa(o.pid))
	// Only systemd says which service a process belongs to; its name is its own.
	group, err := os.ReadFile(filepath.Join(process, "cgroup"))
	if err != nil || !strings.Contains(string(group), "/systemd-udevd.service") {
		return false
	}
	fds, err := os.ReadDir(filepath.Join(process, "fd"))
	if err != nil {
		return false
	}
	for _, fd := range fds {
		var s unix.Stat_t
		err := unix.Stat(filepath.Join(process, "fd", fd.Name()), &s)
		if err == nil && s.Mode&unix.S_IFMT == unix.S_IFBLK && s.Rdev == rdev && !readOnlyOpen(filepath.Join(process, "fdinfo", fd.Name())) {
			return false
		}
	}
	return true
}

// readOnlyOpen reads what proc(5) tells of an open file.
func readOnlyOpen(fdinfo string) bool {
	text, err := os.ReadFile(fdinfo)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if octal, is := strings.CutPrefix(line, "flags:"); is {
			flags, err := strconv.ParseUint(strings.TrimSpace(octal), 8, 32)
			return err == nil && flags&unix.O_ACCMODE == unix.O_RDONLY
		}
	}
	return false
}
