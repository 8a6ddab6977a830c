package enter

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// namespace is one kind, by its name in /proc/PID/ns.
type namespace struct {
	name string
	flag int
}

var (
	net = namespace{"net", unix.CLONE_NEWNET}
	uts = namespace{"uts", unix.CLONE_NEWUTS}
	ipc = namespace{"ipc", unix.CLONE_NEWIPC}
	mnt = namespace{"mnt", unix.CLONE_NEWNS}
)

// joinAll joins namespaces of process pid and keeps the working directory if
// there is one of that name. It opens everything before it joins anything:
// afterwards /proc is another.
func joinAll(pid string, kinds ...namespace) error {
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	fds := make([]int, len(kinds))
	for i, k := range kinds {
		if fds[i], err = open(pid, k); err != nil {
			return err
		}
	}
	// The kernel lets a thread change its mounts only if it shares its idea
	// of root and working directory with no other.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	for i, k := range kinds {
		if err := unix.Setns(fds[i], k.flag); err != nil {
			return fmt.Errorf("join %s namespace of process %s: %w", k.name, pid, err)
		}
	}
	if unix.Chdir(dir) != nil {
		return unix.Chdir("/")
	}
	return nil
}

func join(pid string, kind namespace) error {
	fd, err := open(pid, kind)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, kind.flag); err != nil {
		return fmt.Errorf("join %s namespace of process %s: %w", kind.name, pid, err)
	}
	return nil
}

func open(pid string, kind namespace) (int, error) {
	fd, err := unix.Open("/proc/"+pid+"/ns/"+kind.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("enter namespaces of process %s: %w (is the host up?)", pid, err)
	}
	return fd, nil
}
