package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Tool is qemu-img on this host.
type Tool struct {
	QEMUImg string // the program
	Prlimit string // util-linux's program of that name
}

// System is qemu-img as it is installed.
func System() Tool { return Tool{QEMUImg: "qemu-img", Prlimit: "prlimit"} }

// What looking at an image may cost: as much processor time as OpenStack allows,
// which has lived with hostile images longer, and more memory, because a check
// needs it in proportion to the file.
const (
	inspectMemoryBytes = 4 << 30
	inspectCPUSeconds  = 30
	inspectTimeout     = 2 * time.Minute
)

// ToolError is a tool that failed, in its own words.
type ToolError struct {
	Command string // such as "qemu-img info"
	Code    int    // -1 if a signal ended it
	Said    string
	Err     error
}

func (e *ToolError) Error() string {
	said := e.Said
	if said == "" {
		said = e.Err.Error()
	}
	return e.Command + ": " + said
}

func (e *ToolError) Unwrap() error { return e.Err }

// inspect runs a command of qemu-img that reads an untrusted header, within
// limits, and returns what it printed.
func (t Tool) inspect(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, inspectTimeout, fmt.Errorf("qemu-img %s did not end within %s", args[0], inspectTimeout))
	defer cancel()
	// prlimit would only say that it found no such file.
	program, err := exec.LookPath(t.QEMUImg)
	if err != nil {
		return nil, missing(t.QEMUImg, err)
	}
	limited := append([]string{
		fmt.Sprintf("--as=%d", inspectMemoryBytes), fmt.Sprintf("--cpu=%d", inspectCPUSeconds), "--core=0", program,
	}, args...)
	var out bytes.Buffer
	err = run(ctx, "qemu-img "+args[0], exec.Command(t.Prlimit, limited...), &out)
	return out.Bytes(), err
}

// run runs a command to its end. It dies when ctx ends and when this process
// does, however that happens: nothing may go on writing to a device that
// somebody else cleans up.
func run(ctx context.Context, name string, cmd *exec.Cmd, out io.Writer) error {
	var said tail
	cmd.Stdout, cmd.Stderr = out, &said
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	// Of its own group, so that a Ctrl-C on the terminal is only ours.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	done := make(chan error, 1)
	started := make(chan error, 1)
	go func() {
		// The kernel ties the death signal to the thread that starts a child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			done <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return missing(cmd.Path, err)
	}
	select {
	case err := <-done:
		return toolError(name, said.String(), err)
	case <-ctx.Done():
		killed := cmd.Process.Kill()
		<-done
		if errors.Is(killed, os.ErrProcessDone) {
			killed = nil
		}
		return errors.Join(fmt.Errorf("%s: %w", name, context.Cause(ctx)), killed)
	}
}

func missing(program string, err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		err = fmt.Errorf("%w: install qemu-utils (Debian, Ubuntu) or qemu-img (Fedora, RHEL)", err)
	}
	return fmt.Errorf("start %s: %w", program, err)
}

func toolError(name, said string, err error) error {
	if err == nil {
		return nil
	}
	e := &ToolError{Command: name, Code: -1, Said: said, Err: err}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		e.Code = exit.ExitCode()
	}
	return e
}

// tail keeps the beginning of what a tool says: its first words name the cause.
type tail struct{ text []byte }

const saidBytes = 2000

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p[:min(len(p), saidBytes-len(t.text))]...)
	return len(p), nil
}

func (t *tail) String() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(t.text), "?"))
	text = blockNode.ReplaceAllString(text, "it")
	return strings.ReplaceAll(text, "qemu-img: ", "")
}

// blockNode is how QEMU repeats a node's description in its errors; the callers
// say which file it is.
var blockNode = regexp.MustCompile(`'json:\{.*?\}'`)

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// both does two things at once, because starting a tool takes as long as many a
// copy. The error of the first counts for more; either ends the other.
func both(ctx context.Context, first, second func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errs := make(chan error, 1)
	go func() {
		err := second(ctx)
		if err != nil {
			cancel(err)
		}
		errs <- err
	}()
	err := first(ctx)
	if err != nil {
		cancel(err)
	}
	other := <-errs
	if err == nil || other != nil && errors.Is(err, other) {
		return other // the first only ended because of it
	}
	return err
}
