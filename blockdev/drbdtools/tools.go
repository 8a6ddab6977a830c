// Package drbdtools asks DRBD on this host what is, and tells it what to do:
// the kernel through drbdsetup, and drbdadm for what needs the configuration
// in /etc/drbd.d. It works with DRBD 8.4 and 9: it reads only what both
// versions of the tools print, in the forms that both share, and refuses what
// it does not understand.
//
// Both the configuration and what the kernel shows of it may hold a shared
// secret. So what a tool prints on its standard output is never part of an
// error; what it complains about is.
package drbdtools

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/volbridge/volbridge/internal/lazyregexp"
)

// Tools runs drbdadm and drbdsetup.
type Tools struct {
	// Folder has both; empty: where distributions put them.
	Folder string
	// Timeout of one run, 0: DefaultTimeout. What was asked for may still
	// happen after it.
	Timeout time.Duration
}

// DefaultTimeout is far above what a healthy host needs. A promotion waits for
// the peer, which the kernel itself gives up after some seconds.
const DefaultTimeout = 30 * time.Second

// folders are tried in this order: a hook may have no PATH.
var folders = []string{"/usr/sbin", "/sbin"}

const (
	maxOutputBytes = 8 << 20 // thousands of resources
	maxWordsBytes  = 500     // libvirt cuts what a hook says after about 1 KiB
)

// Error is a tool that refused or broke off.
type Error struct {
	Command string // as a person would type it
	// Code is the kernel's answer that the tool quoted, such as -12; 0 if it
	// quoted none.
	Code  int
	Words string // what the tool said, in one line
	Err   error
}

func (e *Error) Error() string {
	if e.Words == "" {
		return fmt.Sprintf("%s: %v", e.Command, e.Err)
	}
	return fmt.Sprintf("%s: %v: %s", e.Command, e.Err, e.Words)
}

func (e *Error) Unwrap() error { return e.Err }

// The kernel's answers that callers tell apart.
const (
	// TwoPrimaries: a peer is Primary, and two are not allowed.
	TwoPrimaries = -1
	// InUse: something on this host has the device open.
	InUse = -12
	// BothPrimary: two Primaries cannot be forbidden while there are two.
	BothPrimary = 164
)

// Answered says whether the kernel gave this answer.
func Answered(err error, code int) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// run returns what the tool printed.
func (t Tools) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	command := strings.Join(append([]string{name}, args...), " ")
	path, err := t.find(name)
	if err != nil {
		return nil, err
	}
	limit := t.Timeout
	if limit <= 0 {
		limit = DefaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit,
		fmt.Errorf("no answer within %s, and it may still take effect: %w", limit, context.DeadlineExceeded))
	defer cancel()
	out, words := bounded{max: maxOutputBytes}, bounded{max: 4 * maxWordsBytes}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdout, cmd.Stderr = &out, &words
	// drbdadm runs drbdsetup, which must not outlive it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err == nil && out.cut:
		err = fmt.Errorf("it printed more than %d MiB", maxOutputBytes>>20)
	case err == nil:
		return out.Bytes(), nil
	}
	return nil, &Error{Command: command, Code: code(words.String()), Words: oneLine(words.String()), Err: err}
}

func (t Tools) find(name string) (string, error) {
	places := folders
	if t.Folder != "" {
		places = []string{t.Folder}
	}
	for _, folder := range places {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no %s in %s: install drbd-utils", name, strings.Join(places, " or "))
}

// bounded keeps the beginning of what is written to it.
type bounded struct {
	bytes.Buffer
	max int
	cut bool
}

func (b *bounded) Write(p []byte) (int, error) {
	keep := min(len(p), b.max-b.Len())
	b.cut = b.cut || keep < len(p)
	b.Buffer.Write(p[:keep])
	return len(p), nil
}

// answer is how the tools quote the kernel: "State change failed: (-12) …",
// "Failure: (164) …".
var answer = lazyregexp.New(`[Ff]ail(?:ed|ure): \((-?[0-9]{1,4})\)`)

func code(words string) int {
	found := answer.FindStringSubmatch(words)
	if found == nil {
		return 0
	}
	n, _ := strconv.Atoi(found[1]) // at most four digits
	return n
}

// oneLine is fit to be shown. That one tool called another is no news.
func oneLine(words string) string {
	var lines []string
	for line := range strings.Lines(words) {
		line = strings.TrimSpace(strings.Map(printable, line))
		if line != "" && !strings.Contains(line, "terminated with exit code") {
			lines = append(lines, line)
		}
	}
	text := strings.Join(lines, "; ")
	if len(text) > maxWordsBytes {
		text = strings.ToValidUTF8(text[:maxWordsBytes], "") + "…"
	}
	return text
}

func printable(r rune) rune {
	if r == '\t' || !unicode.IsPrint(r) {
		return ' '
	}
	return r
}
