// Package nvmet makes this machine an NVMe/TCP target with the kernel's nvmet,
// through its configfs. It is meant for a program that plays a storage array in
// a machine of the lab.
//
// # Different from a real array
//
// A FlashArray has one subsystem NQN, and shows each host the namespaces that
// are connected to that host. The kernel decides per subsystem who may connect,
// and shows everybody there the same namespaces. So Array gives each host a
// subsystem of its own, which only that host may connect to: the NQN that a
// host must be told is Array.SubsystemNQN of the host's. What a host sees is
// then as with the array: one subsystem, the same portals, its own namespaces,
// and the NGUID of a volume is the same for all.
//
// The kernel gives each namespace a random UUID, which Linux prefers over the
// NGUID. The array has none, so none is the default here: Namespace.UUID.
package nvmet

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
)

// Target is the machine's nvmet.
type Target struct {
	root string
	// configfs fills a directory that is made, and empties one that is removed.
	mkdir, remove func(dir string) error
}

// At is the target whose configfs is at root.
func At(root string) *Target {
	mkdir := func(dir string) error { return os.Mkdir(dir, 0o755) }
	return &Target{root: root, mkdir: mkdir, remove: os.Remove}
}

const configfs = "/sys/kernel/config"

// Load loads the kernel's modules and returns this machine's target.
func Load(ctx context.Context) (*Target, error) {
	if out, err := exec.CommandContext(ctx, "modprobe", "--all", "configfs", "nvmet", "nvmet-tcp", "loop").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("load nvmet: %w: %s", err, out)
	}
	t := At(filepath.Join(configfs, "nvmet"))
	if _, err := os.Stat(t.root); err == nil {
		return t, nil
	}
	if out, err := exec.CommandContext(ctx, "mount", "-t", "configfs", "configfs", configfs).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mount configfs: %w: %s", err, out)
	}
	return t, nil
}

// Subsystem is what a host connects to.
type Subsystem struct {
	NQN    string
	Model  string   // at most 40 characters; empty for the kernel's own
	Serial string   // at most 20 characters; empty for a random one
	Hosts  []string // NQNs of the hosts that may connect; none: any host
}

// CreateSubsystem makes a subsystem. It is idempotent; hosts are added, never
// removed.
func (t *Target) CreateSubsystem(s Subsystem) error {
	err := t.makeDir(t.subsystem(s.NQN))
	if err == nil && s.Model != "" {
		err = t.write(t.subsystem(s.NQN, "attr_model"), s.Model)
	}
	if err == nil && s.Serial != "" {
		err = t.write(t.subsystem(s.NQN, "attr_serial"), s.Serial)
	}
	if err == nil && len(s.Hosts) == 0 {
		err = t.write(t.subsystem(s.NQN, "attr_allow_any_host"), "1")
	}
	for _, host := range s.Hosts {
		if err == nil {
			err = t.allow(s.NQN, host)
		}
	}
	if err != nil {
		return fmt.Errorf("create subsystem %s: %w", s.NQN, err)
	}
	return nil
}

func (t *Target) allow(nqn, host string) error {
	if err := t.makeDir(t.path("hosts", host)); err != nil {
		return err
	}
	return link(t.path("hosts", host), t.subsystem(nqn, "allowed_hosts", host))
}

// RemoveSubsystem ends the connections to a subsystem and removes it with its
// namespaces; the hosts that it allowed stay known. One that is not there is no
// error.
func (t *Target) RemoveSubsystem(nqn string) error {
	if _, err := os.Stat(t.subsystem(nqn)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := t.withdrawEverywhere(nqn)
	for _, pattern := range []string{"allowed_hosts/*", "namespaces/*"} {
		found, globErr := filepath.Glob(t.subsystem(nqn, pattern))
		err = errors.Join(err, globErr)
		for _, path := range found {
			if filepath.Base(filepath.Dir(path)) == "namespaces" {
				err = errors.Join(err, t.write(filepath.Join(path, "enable"), "0"), t.remove(path))
			} else {
				err = errors.Join(err, os.Remove(path))
			}
		}
	}
	if err := errors.Join(err, t.remove(t.subsystem(nqn))); err != nil {
		return fmt.Errorf("remove subsystem %s: %w", nqn, err)
	}
	return nil
}

// Portal is an address that subsystems are published at.
type Portal struct {
	ID      int    // any number from 1 to 65535
	Address string // IPv4
	Port    int    // 0 means 4420
}

const defaultPort = 4420

// CreatePortal makes a portal; it begins to listen with the first subsystem
// that is published at it. It is idempotent.
func (t *Target) CreatePortal(p Portal) error {
	port := p.Port
	if port == 0 {
		port = defaultPort
	}
	dir := t.path("ports", strconv.Itoa(p.ID))
	err := t.makeDir(dir)
	for _, attribute := range []struct{ name, value string }{
		{"addr_trtype", "tcp"},
		{"addr_adrfam", "ipv4"},
		{"addr_traddr", p.Address},
		{"addr_trsvcid", strconv.Itoa(port)},
	} {
		if err == nil {
			err = t.set(filepath.Join(dir, attribute.name), attribute.value)
		}
	}
	if err != nil {
		return fmt.Errorf("create portal %d at %s: %w", p.ID, p.Address, err)
	}
	return nil
}

// Publish lets hosts find the subsystem at the portal. It is idempotent.
func (t *Target) Publish(portal int, nqn string) error {
	if err := link(t.subsystem(nqn), t.published(portal, nqn)); err != nil {
		return fmt.Errorf("publish %s at portal %d: %w", nqn, portal, err)
	}
	return nil
}

// Withdraw undoes Publish; the connections over this portal end.
func (t *Target) Withdraw(portal int, nqn string) error {
	if err := os.Remove(t.published(portal, nqn)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("withdraw %s from portal %d: %w", nqn, portal, err)
	}
	return nil
}

func (t *Target) withdrawEverywhere(nqn string) error {
	links, err := filepath.Glob(t.path("ports", "*", "subsystems", nqn))
	for _, link := range links {
		err = errors.Join(err, os.Remove(link))
	}
	return err
}

// Clear removes everything from the target.
func (t *Target) Clear() error {
	subsystems, err := os.ReadDir(t.path("subsystems"))
	errs := []error{err}
	for _, s := range subsystems {
		errs = append(errs, t.RemoveSubsystem(s.Name()))
	}
	for _, kind := range []string{"ports", "hosts"} {
		entries, err := os.ReadDir(t.path(kind))
		errs = append(errs, err)
		for _, e := range entries {
			errs = append(errs, t.remove(t.path(kind, e.Name())))
		}
	}
	return errors.Join(errs...)
}

func (t *Target) path(parts ...string) string {
	return filepath.Join(append([]string{t.root}, parts...)...)
}

func (t *Target) subsystem(nqn string, parts ...string) string {
	return t.path(append([]string{"subsystems", nqn}, parts...)...)
}

func (t *Target) published(portal int, nqn string) string {
	return t.path("ports", strconv.Itoa(portal), "subsystems", nqn)
}

func (t *Target) makeDir(path string) error {
	if err := t.mkdir(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// write sets an attribute. The kernel judges each write as a whole.
func (t *Target) write(path, value string) error {
	return os.WriteFile(path, []byte(value), 0o644)
}

// set writes an attribute that has another value; the kernel refuses that for a
// portal that listens.
func (t *Target) set(path, value string) error {
	if now, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(now)) == value {
		return nil
	}
	return t.write(path, value)
}

func link(target, path string) error {
	if err := os.Symlink(target, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
