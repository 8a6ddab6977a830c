package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/internal/state"
)

func checkState(ctx context.Context, e *Env) []Finding { return e.stateFindings(ctx) }

// stateFindings is asked once: opening the records puts a wrong mode right
// before anybody has seen it.
func (e *Env) stateFindings(ctx context.Context) []Finding {
	path := e.Config.StatePath()
	defer waiting(ctx, "the state file "+path)()
	all, err := once(ctx, e, "state", askTime, func(ctx context.Context) ([]Finding, error) { return e.lookAtState(ctx, path), nil })
	if err != nil {
		return []Finding{{Level: Fail, Seen: fmt.Sprintf("state file %s: %v", path, err), Remedy: "see who has it locked", Commands: []string{"fuser -v " + quote(path)}}}
	}
	return all
}

func (e *Env) lookAtState(ctx context.Context, path string) []Finding {
	info, err := os.Lstat(e.Path(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // nothing was ever recorded
	case err != nil:
		return []Finding{{Level: Fail, Seen: err.Error(), Remedy: "run the doctor as root"}}
	case !info.Mode().IsRegular():
		return []Finding{{Level: Fail, Seen: fmt.Sprintf("%s is a %s, not a file", path, info.Mode().Type()), Remedy: "choose another state_dir in " + e.Config.Path}}
	}
	out := e.private(path, 0o077, Fail)
	if err := state.Inspect(ctx, e.Path(path), state.ProductUUID(e.Path("/sys/"))); err != nil {
		out = append(out, e.damaged(path, err))
	}
	return out
}

func (e *Env) damaged(path string, err error) Finding {
	f := Finding{Level: Fail, Seen: oneLine(err.Error())}
	if !errors.Is(err, state.ErrCorrupt) {
		f.Remedy = "the message says what to do"
		if remedy := state.Remedy(path, err); remedy != "" {
			f.Seen, f.Remedy = oneLine(strings.TrimSuffix(err.Error(), ": "+remedy)), remedy
		}
		return f
	}
	away := path + ".damaged"
	f.Remedy = "move it away; the daemon's restart records the disks of running guests again; then let recovery look"
	f.Commands = []string{
		fmt.Sprintf("for f in %s %s-wal %s-shm; do [ ! -e $f ] || mv $f $f.damaged; done", quote(path), quote(path), quote(path)),
	}
	if restart := e.restartDaemon(); restart != "" {
		f.Commands = append(f.Commands, restart)
	} else {
		f.Remedy += "; restart libvirt's daemon by hand before the last command"
	}
	f.Commands = append(f.Commands, e.recoverCommand())
	f.Remedy += "; keep " + away + " for those who look into it"
	return f
}

// recoverCommand is how recovery is run with the same configuration.
func (e *Env) recoverCommand() string {
	if e.Config.Path == defaultConfig {
		return "volbridge recover"
	}
	return "volbridge --config " + quote(e.Config.Path) + " recover"
}

const (
	tooLittle = 1 << 20
	little    = 16 << 20
)

func checkSpace(_ context.Context, e *Env) (out []Finding) {
	for _, dir := range []string{e.Config.StateDir, e.Config.RunDir} {
		at := dir
		for !e.exists(at) && at != "/" {
			at = filepath.Dir(at)
		}
		var s unix.Statfs_t
		if err := unix.Statfs(e.Path(at), &s); err != nil {
			out = append(out, Finding{Level: Fail, Seen: fmt.Sprintf("%s: %v", at, err), Remedy: "see that the file system is mounted and works", Commands: []string{"df " + quote(at)}})
			continue
		}
		free := int64(s.Bavail) * s.Bsize
		level := OK
		switch {
		case free < tooLittle:
			level = Fail
		case free < little:
			level = Warn
		}
		if level > OK {
			out = append(out, Finding{Level: level, Seen: fmt.Sprintf("the file system of %s has %d KiB left: without room nothing can be recorded, and no guest starts", dir, free>>10),
				Remedy: "make room there, or let state_dir and run_dir be elsewhere; what takes the room: du -xah " + quote(at) + " | sort -h | tail"})
		}
	}
	return out
}
