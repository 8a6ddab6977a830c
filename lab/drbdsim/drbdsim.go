// Package drbdsim plays drbdadm and drbdsetup for the tests of what uses them:
// several hosts with replicas of the same resources, in one file that all
// processes share. It knows roles, connections, disks and two primaries, and
// says what drbd-utils says; it has no data and no devices. The emulated
// machines have the real ones.
//
// A test program plays the tools itself: its TestMain calls Main first.
//
//	func TestMain(m *testing.M) { drbdsim.Main(); os.Exit(m.Run()) }
package drbdsim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/volbridge/volbridge/internal/lockfile"
)

// Cluster is the hosts. Its Dir is all that there is of it.
type Cluster struct{ Dir string }

// State is what all hosts are in.
type State struct {
	Resources map[string]*Resource
	// Fault is what the tools do once, at the call numbered At from 1.
	Fault Fault
	Calls []string // what was called since, by each host: "kvm01: drbdadm primary r0"
}

// Resource is one resource on all hosts.
type Resource struct {
	Minor     int
	SizeBytes int64
	Volumes   int    // at least 1
	Protocol  string // of the configuration
	// ConfigTwo: the configuration allows two primaries.
	ConfigTwo bool
	Hosts     map[string]*Replica
}

// Replica is a resource on one host.
type Replica struct {
	Down bool   // not up
	Role string // Primary or Secondary
	Disk string // UpToDate, Diskless, …; a peer that was lost is known to be Outdated
	// Cut: not connected to anybody; StandAlone if it does not try.
	Cut, StandAlone bool
	Two             bool   // two primaries are allowed
	Protocol        string // now
	Open            bool   // somebody has the device open
	// Target: fetching data from a peer.
	Target bool
}

// Mode is how a tool fails.
type Mode string

// The ways to fail. Those that end in After do what they were asked to before.
const (
	Fail      Mode = "fail"       // says so
	FailAfter Mode = "fail after" // so does one whose answer is lost
	Hang      Mode = "hang"       // for ever
	HangAfter Mode = "hang after"
	Nonsense  Mode = "nonsense" // succeeds and prints something else
	Kill      Mode = "kill"     // who called it dies
	KillAfter Mode = "kill after"
	// Outrun does what it is asked to, and another host allows two primaries
	// and becomes one at the same moment.
	Outrun Mode = "outrun"
)

// Fault is one failure to come.
type Fault struct {
	At   int // 0: none
	Mode Mode
}

// New makes a cluster in dir. program, which calls Main, plays the tools.
func New(dir, program string, hosts ...string) (Cluster, error) {
	c := Cluster{dir}
	for _, h := range hosts {
		folder := c.Tools(h)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return c, err
		}
		for _, tool := range []string{"drbdadm", "drbdsetup"} {
			if err := os.Symlink(program, filepath.Join(folder, tool)); err != nil {
				return c, err
			}
		}
	}
	return c, c.save(State{Resources: map[string]*Resource{}})
}

// Tools is the folder of a host's tools.
func (c Cluster) Tools(host string) string { return filepath.Join(c.Dir, host, "sbin") }

// Hung is a file that appears when a tool hangs.
func (c Cluster) Hung() string { return filepath.Join(c.Dir, "hung") }

// Sys is a host's /sys, as far as it has one.
func (c Cluster) Sys(host string) string { return filepath.Join(c.Dir, host, "sys") }

// Add makes a resource with UpToDate, Secondary replicas on these hosts.
func (c Cluster) Add(name string, minor int, sizeBytes int64, hosts ...string) error {
	r := &Resource{Minor: minor, SizeBytes: sizeBytes, Volumes: 1, Protocol: "C", Hosts: map[string]*Replica{}}
	for _, h := range hosts {
		r.Hosts[h] = &Replica{Role: Secondary, Disk: "UpToDate", Protocol: "C"}
		folder := filepath.Join(c.Sys(h), "block", fmt.Sprintf("drbd%d", minor))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, "size"), fmt.Appendf(nil, "%d\n", sizeBytes/512), 0o644); err != nil {
			return err
		}
	}
	return c.Change(func(s *State) error {
		if s.Resources[name] != nil {
			return fmt.Errorf("there is a resource %s", name)
		}
		s.Resources[name] = r
		return nil
	})
}

// Arm makes the call that comes as number at from now on fail.
func (c Cluster) Arm(at int, mode Mode) error {
	return c.Change(func(s *State) error {
		s.Fault, s.Calls = Fault{at, mode}, nil
		return nil
	})
}

// Change reads the state, lets f change it, and writes it unless f fails.
func (c Cluster) Change(f func(*State) error) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	release, err := lockfile.Acquire(ctx, filepath.Join(c.Dir, "lock"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	s, err := c.State()
	if err != nil {
		return err
	}
	if err := f(&s); err != nil {
		return err
	}
	return c.save(s)
}

// State is how things are.
func (c Cluster) State() (s State, err error) {
	data, err := os.ReadFile(c.file())
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}

func (c Cluster) save(s State) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.file()+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(c.file()+".new", c.file())
}

func (c Cluster) file() string { return filepath.Join(c.Dir, "state.json") }

// names are the keys of a map, sorted.
func names[T any](m map[string]T) []string {
	var all []string
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
