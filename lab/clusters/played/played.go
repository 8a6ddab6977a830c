// Package played is the DRBD of a lab's hosts as the programs on them see it:
// package clusters plays the kernel's side.
//
// A device is a loop device's node under the name that DRBD's would have, and
// drbdadm and drbdsetup are played. So two things differ for programs that are
// built with the tag "lab", and for no others: where these tools are, and which
// device numbers a minor of DRBD may have. On a machine without Marker there is
// no difference.
package played

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/lab/drbdsim"
)

// Marker is there in hosts whose DRBD is played. It holds the directory of the
// drbdsim.Cluster.
const Marker = "/etc/volbridge-lab-drbd"

// NumbersFile is where the device numbers of a minor on a host are written, each
// as Number, with blanks between them.
func NumbersFile(dir, host string, minor int) string {
	return filepath.Join(dir, host, "nodes", strconv.Itoa(minor))
}

// Number is a device number as text.
func Number(rdev uint64) string { return fmt.Sprintf("%d:%d", unix.Major(rdev), unix.Minor(rdev)) }

// Machine is the machine that this process runs on, m with the DRBD that is
// played there, if any. It panics if the host is not a whole one; there is
// nobody to hear of an error.
func Machine(m blockdev.Host) blockdev.Host {
	text, err := os.ReadFile(Marker)
	if errors.Is(err, fs.ErrNotExist) {
		return m
	}
	host, nameless := os.Hostname()
	if err := errors.Join(err, nameless); err != nil {
		panic(fmt.Sprintf("played: prepare this host: %v", err))
	}
	dir := strings.TrimSpace(string(text))
	m.DRBDTools = drbdsim.Cluster{Dir: dir}.Tools(host)
	m.DRBDNode = func(minor int, rdev uint64) (bool, error) {
		numbers, err := os.ReadFile(NumbersFile(dir, host, minor))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		return slices.Contains(strings.Fields(string(numbers)), Number(rdev)), nil
	}
	return m
}
