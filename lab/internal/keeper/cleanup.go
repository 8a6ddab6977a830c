package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/lab/internal/loops"
	"github.com/volbridge/volbridge/lab/internal/wire"
)

// crash ends the host as a power cut does: no process is asked, and its loop
// devices are gone as after a boot.
func (k *keeper) crash(spec wire.HostSpec) error {
	init := k.hosts[spec.Name]
	if init == nil {
		return fmt.Errorf("host %s is not up", spec.Name)
	}
	before, err := boundUnder(k.setup.Dir)
	if err != nil {
		return fmt.Errorf("crash host %s: %w", spec.Name, err)
	}
	delete(k.hosts, spec.Name)
	if err := end(init); err != nil {
		return fmt.Errorf("crash host %s: %w", spec.Name, err)
	}
	unplugged := unplug(spec)
	after, err := loops.Bound()
	if err != nil {
		return errors.Join(unplugged, err)
	}
	return errors.Join(unplugged, detach(lostMount(before, after)))
}

// lostMount finds the devices that were bound by the host that has just died:
// the mount through which their file was opened went with its namespace, so
// the kernel cannot tell the whole path any more. Other hosts' devices on the
// same files keep theirs.
func lostMount(before, after []loops.Device) []loops.Device {
	paths := map[string]loops.Device{}
	for _, d := range before {
		paths[d.Node] = d
	}
	var lost []loops.Device
	for _, d := range after {
		old, known := paths[d.Node]
		if known && old.File == d.File && old.Path() != d.Path() {
			lost = append(lost, d)
		}
	}
	return lost
}

// boundUnder lists the loop devices whose files are in the lab, by path or,
// where a host sees the file elsewhere, by the file itself.
func boundUnder(dir string) ([]loops.Device, error) {
	bound, err := loops.Bound()
	if err != nil || len(bound) == 0 {
		return nil, err
	}
	files, err := loops.Files(dir)
	if err != nil {
		return nil, err
	}
	var ours []loops.Device
	for _, d := range bound {
		if d.Under(dir) || files[d.File] {
			ours = append(ours, d)
		}
	}
	return ours, nil
}

func detach(devices []loops.Device) error {
	var errs []error
	for _, d := range devices {
		errs = append(errs, loops.Detach(d))
	}
	return errors.Join(errs...)
}

// cleanUp removes everything: a step that fails does not stop the next ones.
func (k *keeper) cleanUp() error {
	// A deleted file's device is known by its path only, which it loses with
	// the host; so look before.
	devices, err := boundUnder(k.setup.Dir)
	errs := []error{err}
	for _, init := range k.hosts {
		errs = append(errs, end(init))
	}
	network, err := Network(os.Getpid())
	errs = append(errs, err, detach(devices), Clean(k.setup.Dir, network))
	return errors.Join(errs...)
}

// Clean removes what a lab without hosts and keeper leaves: visitors in its
// network, bound loop devices, and its directory.
func Clean(dir, network string) error {
	visitors := killVisitors(network)
	devices, err := boundUnder(dir)
	return errors.Join(visitors, err, detach(devices), os.RemoveAll(dir))
}

// Network identifies the network namespace of a process.
func Network(pid int) (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
}

// killVisitors ends the programs that were started in the lab's network from
// outside and that nobody may be left to end.
func killVisitors(network string) error {
	links, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return err
	}
	var errs []error
	for _, link := range links {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(link))))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if ns, err := os.Readlink(link); err != nil || ns != network {
			continue // gone, or elsewhere
		}
		if err := kill(pid); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("end process %d in the lab's network: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

// kill kills somebody's child and waits until it has ended.
func kill(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		return err
	}
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
