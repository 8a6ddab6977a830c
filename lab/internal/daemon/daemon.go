// Package daemon starts and ends libvirtd inside a lab host.
package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	program    = "/usr/sbin/libvirtd"
	pidFile    = "/run/libvirtd.pid"
	notifyPath = "/run/lab-notify"
	outputPath = "/var/log/libvirt/libvirtd.out"
	logPath    = "/var/log/libvirt/libvirtd.log"
)

// Main runs one order: start, stop, kill or restart.
func Main(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: daemon start|stop|kill|restart")
	}
	switch args[0] {
	case "start":
		return start()
	case "stop":
		return end(unix.SIGTERM)
	case "kill":
		return end(unix.SIGKILL)
	case "restart":
		if err := end(unix.SIGTERM); err != nil {
			return err
		}
		return start()
	}
	return fmt.Errorf("unknown order %q", args[0])
}

// start returns when libvirtd is up with all its drivers. The host's
// init inherits it.
func start() error {
	ready, err := listen()
	if err != nil {
		return err
	}
	defer ready.Close()
	output, err := os.OpenFile(outputPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer output.Close()
	// As a service manager starts it: nothing of the caller's environment.
	cmd := exec.Command(program, "--listen", "--pid-file", pidFile)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "NOTIFY_SOCKET=" + notifyPath}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start libvirtd: %w", err)
	}
	return await(cmd, ready)
}

// listen opens the socket that sd_notify writes to.
func listen() (*net.UnixConn, error) {
	if err := os.Remove(notifyPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notifyPath, Net: "unixgram"})
}

// await returns when a client gets an answer. READY only says that clients can
// connect; they are served once all drivers are up, and never if one fails.
func await(cmd *exec.Cmd, ready *net.UnixConn) error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	answered := make(chan error, 1)
	go func() { answered <- errors.Join(untilReady(ready), connect()) }()
	select {
	case err := <-answered:
		if err == nil {
			return nil
		}
		return fmt.Errorf("libvirtd does not answer: %w; it said:\n%s", errors.Join(err, cmd.Process.Kill()), lastWords())
	case err := <-ended:
		return fmt.Errorf("libvirtd ended before it was ready (%v); it said:\n%s", err, lastWords())
	}
}

func untilReady(ready *net.UnixConn) error {
	message := make([]byte, 4096)
	for {
		n, err := ready.Read(message)
		if err != nil || bytes.Contains(message[:n], []byte("READY=1")) {
			return err
		}
	}
}

func connect() error {
	out, err := exec.Command("virsh", "--connect", "qemu:///system", "uri").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

func lastWords() string {
	var words []string
	for _, path := range []string{outputPath, logPath} {
		text, err := os.ReadFile(path)
		if err != nil {
			text = []byte(err.Error())
		}
		words = append(words, string(text[max(0, len(text)-2000):]))
	}
	return strings.Join(words, "\n")
}

// end sends libvirtd a signal and waits until it is gone. Guests live on.
func end(signal unix.Signal) error {
	pid, err := running()
	if err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("find libvirtd, process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil {
		return fmt.Errorf("signal libvirtd: %w", err)
	}
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func running() (int, error) {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return 0, fmt.Errorf("libvirtd does not run: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", pidFile, err)
	}
	if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err != nil || string(name) != "libvirtd\n" {
		return 0, fmt.Errorf("libvirtd does not run: its file names process %d, which is gone", pid)
	}
	return pid, nil
}
