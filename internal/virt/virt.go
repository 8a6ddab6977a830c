// Package virt connects to libvirt the way virsh does. libvirt's library is
// loaded at run time, so a program that imports this package also runs, and
// says what is missing, on a host without it.
package virt

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"libvirt.org/go/libvirt"
)

// ErrNoLibrary: libvirt's client library is not installed on this machine.
var ErrNoLibrary = errors.New("libvirt's client library libvirt.so.0 cannot be loaded")

// ErrConnect: the library is there, but no daemon answered.
var ErrConnect = errors.New("cannot connect")

// DefaultURI is used where neither the user nor the environment names one.
const DefaultURI = "qemu:///system"

// URI chooses the connection: what the user said, else what the environment
// says (the same variables that virsh reads, in its order), else DefaultURI.
func URI(said string, env func(string) string) string {
	for _, uri := range []string{said, env("VIRSH_DEFAULT_CONNECT_URI"), env("LIBVIRT_DEFAULT_URI")} {
		if uri != "" {
			return uri
		}
	}
	return DefaultURI
}

// keep-alive as virsh has it: a peer that is silent for 30 s is gone.
const (
	keepAliveSeconds = 5
	keepAliveCount   = 6
)

// Open connects, and asks on the terminal for a password where the daemon
// wants one. It starts the event loop first, because events and keep-alive
// only work on connections that were opened after it. The caller closes the
// connection.
func Open(uri string) (*libvirt.Connect, error) {
	if err := StartEvents(); err != nil {
		return nil, err
	}
	conn, err := libvirt.NewConnectWithAuthDefault(uri, 0)
	if err != nil {
		return nil, fmt.Errorf("%w to libvirt at %s: %s: see that its daemon runs there (systemctl status libvirtd) and that this user may use it",
			ErrConnect, uri, Message(err))
	}
	if err := conn.SetKeepAlive(keepAliveSeconds, keepAliveCount); err != nil && !IsCode(err, libvirt.ERR_NO_SUPPORT) {
		_, closing := conn.Close()
		return nil, errors.Join(fmt.Errorf("set keep-alive of %s: %s", uri, Message(err)), closing)
	}
	return conn, nil
}

// LibraryVersion returns the version of the library that is installed here,
// such as "9.0.0", or ErrNoLibrary.
func LibraryVersion() (string, error) {
	v, err := libvirt.GetVersion()
	if err != nil {
		return "", fmt.Errorf("%w: install libvirt0 (Debian, Ubuntu) or libvirt-libs (Fedora, RHEL): %s", ErrNoLibrary, Message(err))
	}
	return FormatVersion(v), nil
}

// FormatVersion writes a version as libvirt encodes it.
func FormatVersion(v uint32) string {
	return fmt.Sprintf("%d.%d.%d", v/1_000_000, v/1000%1000, v%1000)
}

var startEvents = sync.OnceValue(func() error {
	if _, err := LibraryVersion(); err != nil {
		return err
	}
	if err := libvirt.EventRegisterDefaultImpl(); err != nil {
		return fmt.Errorf("register libvirt's event loop: %s", Message(err))
	}
	go func() {
		// The loop keeps state in its thread's last error.
		runtime.LockOSThread()
		for libvirt.EventRunDefaultImpl() == nil {
		}
	}()
	return nil
})

// StartEvents runs libvirt's event loop, once in a process and until it ends.
// libvirt allows no second one.
func StartEvents() error { return startEvents() }

// Message returns libvirt's own words without the numbers that its Go binding
// puts around them.
func Message(err error) string {
	var lv libvirt.Error
	if errors.As(err, &lv) && lv.Message != "" {
		return lv.Message
	}
	return err.Error()
}

// IsCode says whether libvirt gave this answer.
func IsCode(err error, code libvirt.ErrorNumber) bool {
	var lv libvirt.Error
	return errors.As(err, &lv) && lv.Code == code
}
