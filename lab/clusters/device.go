package clusters

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/lab/clusters/played"
)

// device is a volume on one host.
type device struct {
	host, root string // root as this machine sees it
	resource   string
	minor      int
	writable   loop
	readOnly   loop
}

// loop is a bound loop device.
type loop struct {
	node string
	rdev uint64
}

func bind(ctx context.Context, file string, options ...string) (l loop, err error) {
	args := append([]string{"--find", "--show", "--direct-io=on"}, options...)
	out, err := losetup(ctx, append(args, file)...)
	if err != nil {
		return l, err
	}
	var s unix.Stat_t
	if err := unix.Stat(out, &s); err != nil {
		return l, fmt.Errorf("stat %s: %w", out, err)
	}
	return loop{out, s.Rdev}, nil
}

func (l loop) unbind(ctx context.Context) error {
	if l.node == "" {
		return nil
	}
	_, err := losetup(ctx, "--detach", l.node)
	return err
}

func losetup(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "losetup", args...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return "", fmt.Errorf("losetup %s: %w: %s", strings.Join(args, " "), err, text)
	}
	return text, nil
}

// appear makes the device of a host, in the order of the kernel and udev: the
// node and then the link. It cannot be written yet.
func (d *device) appear(ctx context.Context, dir, file string) (err error) {
	if d.writable, err = bind(ctx, file); err != nil {
		return err
	}
	if d.readOnly, err = bind(ctx, file, "--read-only"); err != nil {
		return err
	}
	numbers := played.NumbersFile(dir, d.host, d.minor)
	if err := os.MkdirAll(filepath.Dir(numbers), 0o755); err != nil {
		return err
	}
	text := played.Number(d.writable.rdev) + " " + played.Number(d.readOnly.rdev) + "\n"
	if err := os.WriteFile(numbers, []byte(text), 0o644); err != nil {
		return err
	}
	if err := d.show(d.readOnly); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(d.link()), 0o755); err != nil {
		return err
	}
	return os.Symlink("../../../"+filepath.Base(d.node()), d.link())
}

func (d *device) node() string { return filepath.Join(d.root, fmt.Sprintf("dev/drbd%d", d.minor)) }

func (d *device) link() string { return filepath.Join(d.root, "dev/drbd/by-res", d.resource, "0") }

// show makes the host's node that of l, in one step.
func (d *device) show(l loop) error {
	made := d.node() + ".new"
	if err := unix.Mknod(made, unix.S_IFBLK|0o660, int(l.rdev)); err != nil {
		return fmt.Errorf("make the node of %s on %s: %w", d.resource, d.host, err)
	}
	return os.Rename(made, d.node())
}

// disappear takes the device from its host, as kernel and udev do. What is gone
// already, because the host is down, is no error.
func (d *device) disappear(ctx context.Context, dir string) error {
	var errs []error
	for _, path := range []string{d.node(), d.link(), filepath.Dir(d.link()), played.NumbersFile(dir, d.host, d.minor)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, d.writable.unbind(ctx), d.readOnly.unbind(ctx))...)
}

// resize makes the device as large as its file.
func (d *device) resize(ctx context.Context) error {
	for _, l := range []loop{d.writable, d.readOnly} {
		if _, err := losetup(ctx, "--set-capacity", l.node); err != nil {
			return err
		}
	}
	return nil
}

// holder names a process of any host that has the device open, "" if there is
// none.
func (d *device) holder() (string, error) {
	return d.opener(d.writable.rdev, d.readOnly.rdev)
}

// opener looks at what each process has open. One that ends meanwhile has
// nothing open. A loop device that is open under its own name is not the host's
// device: this machine's losetup and udev look into each of them.
func (d *device) opener(rdevs ...uint64) (string, error) {
	files, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return "", err
	}
	for _, file := range files {
		var s unix.Stat_t
		if unix.Stat(file, &s) != nil || s.Mode&unix.S_IFMT != unix.S_IFBLK || !slices.Contains(rdevs, s.Rdev) {
			continue
		}
		name, err := os.Readlink(file)
		if err != nil || !strings.HasPrefix(filepath.Base(name), filepath.Base(d.node())) {
			continue
		}
		process := filepath.Dir(filepath.Dir(file))
		comm, _ := os.ReadFile(filepath.Join(process, "comm"))
		return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(comm)), filepath.Base(process)), nil
	}
	return "", nil
}
