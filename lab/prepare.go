package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/lab/internal/keeper"
	"github.com/volbridge/volbridge/lab/internal/wire"
)

// The hosts of every lab have the same addresses; labs do not see each other.
const (
	subnet    = "10.77.0."
	firstHost = 10 // the address of host 1 ends in 11

	// BridgeAddress is the machine's own in the lab's network. Those that end
	// in 2 to 9 are free for whatever a lab needs beside its hosts.
	BridgeAddress = subnet + "1"
)

const scratchPrefix = "volbridge-lab-"

// longestDir keeps the hosts' sockets within the kernel's 107 bytes.
const longestDir = 50

// prepare makes the lab's directory and everything in it that no process is
// needed for.
func prepare(ctx context.Context, o Options) (*Lab, error) {
	share, err := sharedDirs(o.Share)
	if err != nil {
		return nil, err
	}
	dir, err := scratch(o.Dir)
	if err != nil {
		return nil, err
	}
	l := &Lab{dir: dir, program: o.Program, share: share, verbose: o.Verbose}
	if err := l.fill(ctx, o); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return l, nil
}

func (l *Lab) fill(ctx context.Context, o Options) error {
	var err error
	if l.cache, err = CacheDir(); err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(l.SharedDir(), 0o755), os.MkdirAll(l.serialDir(), 0o755)); err != nil {
		return err
	}
	for i, ho := range o.Hosts {
		h, err := l.newHost(i+1, ho)
		if err != nil {
			return fmt.Errorf("host %q: %w", ho.Name, err)
		}
		l.hosts = append(l.hosts, h)
	}
	if err := os.WriteFile(l.hostsFile(), l.hostsTable(), 0o644); err != nil {
		return err
	}
	if l.program == "" {
		l.program, err = buildProgram(ctx, filepath.Join(l.dir, "bin", "lab"))
	}
	return err
}

func scratch(dir string) (string, error) {
	var err error
	if dir == "" {
		dir, err = os.MkdirTemp("", scratchPrefix)
	} else {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return "", err
	}
	if len(dir) > longestDir {
		return "", errors.Join(fmt.Errorf("directory %s is too long for sockets: at most %d bytes", dir, longestDir), os.Remove(dir))
	}
	// Guests of another user reach into it.
	return dir, os.Chmod(dir, 0o755)
}

// sharedDirs adds what a test needs: its temporary files and its binaries.
func sharedDirs(more []string) ([]string, error) {
	root, err := sourceRoot()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, dir := range append([]string{os.TempDir(), root}, more...) {
		dir, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		if dir != "/" { // that would hide the host's own root
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// sourceRoot is the directory of the module that the process works in, or its
// working directory.
func sourceRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return start, nil
}

// CacheDir is where things are kept that are slow to make: VOLBRIDGE_CACHE, or
// .cache in the source tree.
func CacheDir() (string, error) {
	if dir := os.Getenv("VOLBRIDGE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	root, err := sourceRoot()
	return filepath.Join(root, ".cache"), err
}

// buildProgram builds the command behind the lab. It is static, so that it
// runs on any host's root.
func buildProgram(ctx context.Context, path string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/volbridge/volbridge/lab/cmd/lab")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the lab's program (or name a built one in Options.Program): %w\n%s", err, out)
	}
	return path, nil
}

func (l *Lab) hostsFile() string { return filepath.Join(l.dir, "hosts-table") }

// hostsTable is an /etc/hosts that names the lab's hosts.
func (l *Lab) hostsTable() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "127.0.0.1 localhost\n")
	for _, h := range l.hosts {
		fmt.Fprintf(&b, "%s %s\n", h.address, h.name)
	}
	return b.Bytes()
}

// startKeeper returns when the lab's network is there.
func (l *Lab) startKeeper(ctx context.Context) error {
	cmd := exec.Command(l.program, "keeper")
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET}
	cmd.Stderr = &l.keeperErr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start keeper: %w", err)
	}
	l.keeper, l.requests, l.answers = cmd, in, json.NewDecoder(out)
	if l.network, err = keeper.Network(l.PID()); err != nil {
		return err
	}
	_, err = l.ask(ctx, wire.Setup{Dir: l.dir, HostsFile: l.hostsFile(), BridgeAddr: BridgeAddress + "/24"})
	return err
}

// ask sends one message to the keeper and waits for the answer.
func (l *Lab) ask(ctx context.Context, message any) (wire.Reply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return wire.Reply{}, err
	}
	if err := json.NewEncoder(l.requests).Encode(message); err != nil {
		return wire.Reply{}, fmt.Errorf("ask keeper: %w", err)
	}
	var r wire.Reply
	if err := l.answers.Decode(&r); err != nil {
		return wire.Reply{}, fmt.Errorf("hear from keeper: %w", err)
	}
	if r.Error != "" {
		return wire.Reply{}, errors.New(r.Error)
	}
	return r, nil
}

func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func withoutDashes(uuid string) string { return strings.ReplaceAll(uuid, "-", "") }
