package machines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/volbridge/volbridge/lab/machines/internal/keeper"
)

// Node is one machine of a lab. Its methods but Command and what is made of it
// must not run at once.
type Node struct {
	lab    *Lab
	index  int
	name   string
	spec   Machine
	dir    string // its disk and initramfs
	logDir string
	uuid   string          // of its firmware
	pid    int             // of its QEMU, 0 while it is off
	gone   <-chan struct{} // closes when its QEMU ends
}

// Name is the machine's name, known to all machines of the lab.
func (n *Node) Name() string { return n.name }

// Address is the machine's IPv4 address for everything but storage.
func (n *Node) Address() string { return address(0, firstHost+n.index) }

// Portal is the machine's IPv4 address in portal network 1 or 2.
func (n *Node) Portal(portal int) string { return address(portal, firstHost+n.index) }

// URI reaches the machine's libvirtd from the other machines and from
// Lab.Command.
func (n *Node) URI() string { return "qemu+tcp://" + n.name + "/system" }

// LogDir holds the machine's console, its journal, and what its QEMU said, of
// all boots.
func (n *Node) LogDir() string { return n.logDir }

// Command prepares a program that runs in the machine as root, in /root.
// Killing it kills the program and what the program started in its process
// group; other signals are passed on. Its exit status is the program's, 127 if
// there is no such program, and 128 plus its number if a signal ended it. If the
// machine ends, so does the command, with exit status 1. What the program leaves running in the background when it ends
// runs on.
func (n *Node) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	call := []string{"call", n.lab.pid(), strconv.Itoa(n.pid), n.Address(), name}
	return exec.CommandContext(ctx, n.lab.program, append(call, args...)...)
}

// Run runs a program in the machine and returns what it said on both outputs;
// the error has it too.
func (n *Node) Run(ctx context.Context, name string, args ...string) (string, error) {
	out, err := n.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %s %s: %w\n%s", n.name, name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// Shell runs a script of the machine's sh, with arguments from $1 on; it ends
// at the first command that fails.
func (n *Node) Shell(ctx context.Context, script string, args ...string) (string, error) {
	return n.Run(ctx, "sh", append([]string{"-euc", script, "sh"}, args...)...)
}

// putScript makes the file in one step, so that nobody sees half of it.
const putScript = `mkdir -p "$(dirname "$1")"; cat >"$1.new"; chmod "$2" "$1.new"; mv -T "$1.new" "$1"`

// Copy copies a file into the machine, with the directories above it.
func (n *Node) Copy(ctx context.Context, local, remote string, mode fs.FileMode) error {
	f, err := os.Open(local)
	if err != nil {
		return fmt.Errorf("%s: copy: %w", n.name, err)
	}
	defer f.Close()
	cmd := n.Command(ctx, "sh", "-euc", putScript, "sh", remote, fmt.Sprintf("%o", mode.Perm()))
	cmd.Stdin = f
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: copy %s to %s: %w: %s", n.name, local, remote, err, out)
	}
	return nil
}

// WriteFile writes a file in the machine, with the directories above it.
func (n *Node) WriteFile(ctx context.Context, remote string, data []byte, mode fs.FileMode) error {
	cmd := n.Command(ctx, "sh", "-euc", putScript, "sh", remote, fmt.Sprintf("%o", mode.Perm()))
	cmd.Stdin = strings.NewReader(string(data))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: write %s: %w: %s", n.name, remote, err, out)
	}
	return nil
}

// Fetch copies a file of the machine to the outside.
func (n *Node) Fetch(ctx context.Context, remote, local string) error {
	f, err := os.Create(local)
	if err != nil {
		return fmt.Errorf("%s: fetch: %w", n.name, err)
	}
	cmd := n.Command(ctx, "cat", remote)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = f, &said
	if err := errors.Join(cmd.Run(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("%s: fetch %s: %w: %s", n.name, remote, err, &said), os.Remove(local))
	}
	return nil
}

// Reset cuts the machine's power and boots it again. What had reached its disk
// is there.
func (n *Node) Reset(ctx context.Context) error {
	if err := n.PowerOff(ctx); err != nil {
		return err
	}
	return n.Boot(ctx)
}

// PowerOff cuts the machine's power; Boot brings it back.
func (n *Node) PowerOff(ctx context.Context) error {
	n.lab.say("%s: power off", n.name)
	n.pid = 0
	_, err := n.lab.ask(ctx, keeper.Request{Op: keeper.Kill, Name: n.name})
	n.lab.serials.unplug(n.Address())
	return err
}

// Shutdown shuts the machine down in an orderly way; Boot brings it back.
func (n *Node) Shutdown(ctx context.Context) error {
	n.lab.say("%s: shut down", n.name)
	// The machine may be gone before the answer is here.
	_, asked := n.Run(ctx, "systemctl", "poweroff")
	select {
	case <-n.gone:
		return n.PowerOff(ctx)
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("%s: shut down: %w", n.name, ctx.Err()), asked)
	}
}

func (n *Node) console() string { return filepath.Join(n.logDir, "console.log") }
func (n *Node) journal() string { return filepath.Join(n.logDir, "journal.log") }
