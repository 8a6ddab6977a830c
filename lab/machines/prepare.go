package machines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/lab"
	hosts "github.com/volbridge/volbridge/lab/internal/keeper"
	"github.com/volbridge/volbridge/lab/machines/internal/keeper"
)

// ImageDir is where the image of the machines is cached;
// scripts/machine-image.sh makes it.
func ImageDir() (string, error) {
	cache, err := lab.CacheDir()
	return filepath.Join(cache, "machine"), err
}

// Files of the image.
const (
	imageDisk      = "disk"
	imageKernel    = "vmlinuz"
	imageInitramfs = "initramfs"
)

// prepare makes the lab's directory and everything in it that no process is
// needed for.
func prepare(ctx context.Context, o Options) (*Lab, error) {
	dir, err := scratch(o.Dir)
	if err != nil {
		return nil, err
	}
	l := &Lab{dir: dir, logDir: o.LogDir, program: o.Program, verbose: o.Verbose, started: time.Now()}
	l.serials.open, l.serials.conns = map[string]*serial{}, map[net.Conn]bool{}
	if err := l.fill(ctx, o); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return l, nil
}

func scratch(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "volbridge-machines-")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}

func (l *Lab) fill(ctx context.Context, o Options) error {
	var err error
	if l.image, err = ImageDir(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(l.image, imageDisk)); err != nil {
		return fmt.Errorf("there is no image (run scripts/machine-image.sh): %w", err)
	}
	if l.logDir == "" {
		l.logDir = filepath.Join(l.dir, "logs")
	}
	if l.program == "" {
		if l.program, err = buildProgram(ctx, filepath.Join(l.dir, "machines")); err != nil {
			return err
		}
	}
	for i, m := range o.Machines {
		l.nodes = append(l.nodes, l.newNode(i+1, m))
	}
	if err := os.WriteFile(l.hostsFile(), l.hostsTable(), 0o644); err != nil {
		return err
	}
	for _, n := range l.nodes {
		if err := n.prepare(ctx); err != nil {
			return fmt.Errorf("machine %s: %w", n.name, err)
		}
	}
	return nil
}

// buildProgram builds the command behind the lab. It is static, so that it
// runs in the machines.
func buildProgram(ctx context.Context, path string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/volbridge/volbridge/lab/machines/cmd/machines")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the lab's program (or name a built one in Options.Program): %w\n%s", err, out)
	}
	return path, nil
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
	if l.network, err = hosts.Network(cmd.Process.Pid); err != nil {
		return err
	}
	_, err = l.ask(ctx, keeper.Setup{Dir: l.dir, HostsFile: l.hostsFile(), Network: l.networkLines()})
	return err
}

// ask sends one message to the keeper and waits for the answer, which never
// takes long.
func (l *Lab) ask(ctx context.Context, message any) (keeper.Reply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return keeper.Reply{}, err
	}
	if err := json.NewEncoder(l.requests).Encode(message); err != nil {
		return keeper.Reply{}, fmt.Errorf("ask keeper: %w", err)
	}
	var r keeper.Reply
	if err := l.answers.Decode(&r); err != nil {
		return keeper.Reply{}, fmt.Errorf("hear from keeper: %w", err)
	}
	if r.Error != "" {
		return keeper.Reply{}, errors.New(r.Error)
	}
	return r, nil
}
