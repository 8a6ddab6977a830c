package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is the machine that this process runs on.
type Machine struct {
	Root string // "" or a folder in the place of /
	Sys  string // "" or a folder in the place of /sys
}

// Path implements System.
func (m Machine) Path(path string) string {
	if rest, ok := strings.CutPrefix(path, "/sys/"); ok && m.Sys != "" {
		return filepath.Join(m.Sys, rest)
	}
	return filepath.Join("/", m.Root, path)
}

// programs are where they are looked for, whatever PATH says.
const programs = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"

const maxPrintedBytes = 1 << 20

// Exec implements System.
func (m Machine) Exec(ctx context.Context, name string, args ...string) (string, error) {
	var out, words bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	if !strings.Contains(name, "/") {
		for dir := range strings.SplitSeq(strings.TrimPrefix(programs, "PATH="), ":") {
			if _, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				cmd = exec.CommandContext(ctx, filepath.Join(dir, name), args...)
				break
			}
		}
	}
	cmd.Env = []string{"LC_ALL=C", programs}
	cmd.Stdout, cmd.Stderr = &out, &words
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(name), err, oneLine(words.String()))
	}
	return string(out.Bytes()[:min(out.Len(), maxPrintedBytes)]), nil
}

// Dial implements System.
func (m Machine) Dial(ctx context.Context, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// ServerTime implements System. Only the time is wanted, and no secret is sent,
// so a certificate that the pool's own settings judge is not judged again here.
func (m Machine) ServerTime(ctx context.Context, url string) (theirs, ours time.Time, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return theirs, ours, err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	reply, err := client.Do(r)
	if err != nil {
		return theirs, ours, err
	}
	ours = time.Now()
	_, _ = io.Copy(io.Discard, io.LimitReader(reply.Body, 64<<10)) // the time is in the head
	date := reply.Header.Get("Date")
	if err := reply.Body.Close(); err != nil {
		return theirs, ours, err
	}
	if date == "" {
		return theirs, ours, errors.New("its answer has no date")
	}
	theirs, err = http.ParseTime(date)
	return theirs, ours, err
}

// ClockKept implements System.
func (m Machine) ClockKept() (bool, error) {
	var t unix.Timex // no modes: nothing is set
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return false, fmt.Errorf("ask the kernel for its clock: %w", err)
	}
	return state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, nil
}
