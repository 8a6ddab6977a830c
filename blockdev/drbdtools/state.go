package drbdtools

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// What the kernel calls roles, connections and disks, as far as we tell them
// apart.
const (
	Primary    = "Primary"
	Unknown    = "Unknown"
	Connected  = "Connected"
	StandAlone = "StandAlone"
	UpToDate   = "UpToDate"
	Diskless   = "Diskless"
)

// State is what the kernel of this host says of a resource. One that is not up
// here has no devices.
type State struct {
	Resource string
	Role     string // of this host
	Devices  []Device
	Peers    []Peer
}

// Device is one volume of a resource on this host.
type Device struct {
	Volume, Minor int
	Disk          string // state of this host's replica, Diskless if it has none
}

// Peer is another host of a resource.
type Peer struct {
	NodeID string // of DRBD 9; "0" with 8.4, which has one peer
	// Name is the peer's host name with DRBD 9. 8.4 says "peer", or nothing.
	Name       string
	Connection string
	Role       string
	Disks      map[int]PeerDisk // by volume
}

// PeerDisk is a peer's replica of a volume.
type PeerDisk struct{ Replication, Disk string }

// Device returns the volume with this number.
func (s State) Device(volume int) (Device, bool) {
	for _, d := range s.Devices {
		if d.Volume == volume {
			return d, true
		}
	}
	return Device{}, false
}

// State asks the kernel for one resource.
func (t Tools) State(ctx context.Context, resource string) (State, error) {
	if err := checkResource(resource); err != nil {
		return State{}, err
	}
	all, err := t.states(ctx, resource)
	if err != nil {
		return State{}, err
	}
	for _, s := range all {
		if s.Resource == resource {
			return s, nil
		}
	}
	return State{Resource: resource}, nil
}

// States asks the kernel for all resources, sorted by name.
func (t Tools) States(ctx context.Context) ([]State, error) { return t.states(ctx) }

// states reads events2: of all that the tools print it alone has the same form
// in 8.4 and 9.
func (t Tools) states(ctx context.Context, resource ...string) ([]State, error) {
	out, err := t.run(ctx, "drbdsetup", append([]string{"events2", "--now"}, resource...)...)
	if err != nil {
		return nil, err
	}
	all, err := parseStates(out)
	if err != nil {
		return nil, fmt.Errorf("drbdsetup events2 --now: %w; is this version of drbd-utils supported?", err)
	}
	return all, nil
}

// parseStates reads lines "exists KIND KEY:VALUE…"; the last is "exists -", so
// that an answer that was cut off is not taken for a whole one.
func parseStates(out []byte) ([]State, error) {
	found := map[string]*State{}
	ended := false
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case ended:
			return nil, fmt.Errorf("something follows the end: %.80q", lines.Text())
		case len(words) == 0:
			continue
		case len(words) < 2 || words[0] != "exists":
			return nil, fmt.Errorf("not an answer: %.80q", lines.Text())
		case words[1] == "-":
			ended = len(words) == 2
			continue
		}
		f, err := parseFields(words[2:])
		if err == nil {
			err = note(found, words[1], f)
		}
		if err != nil {
			return nil, fmt.Errorf("%w in %.120q", err, lines.Text())
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if !ended {
		return nil, errors.New("the answer has no end")
	}
	return sorted(found), nil
}

func sorted(found map[string]*State) []State {
	var all []State
	for _, s := range found {
		slices.SortFunc(s.Devices, func(a, b Device) int { return a.Volume - b.Volume })
		slices.SortFunc(s.Peers, func(a, b Peer) int { return strings.Compare(a.NodeID, b.NodeID) })
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b State) int { return strings.Compare(a.Resource, b.Resource) })
	return all
}

// fields are the KEY:VALUE pairs of a line.
type fields map[string]string

func parseFields(words []string) (fields, error) {
	f := fields{}
	for _, w := range words {
		key, value, ok := strings.Cut(w, ":")
		if !ok || key == "" {
			return nil, fmt.Errorf("%.40q has no value", w)
		}
		if _, twice := f[key]; twice {
			return nil, fmt.Errorf("%.40q is there twice", key)
		}
		f[key] = value
	}
	return f, nil
}

// need returns values that must be there.
func (f fields) need(keys ...string) ([]string, error) {
	var values []string
	for _, k := range keys {
		if f[k] == "" {
			return nil, fmt.Errorf("%s is missing", k)
		}
		values = append(values, f[k])
	}
	return values, nil
}

func (f fields) number(key string) (int, error) {
	const most = 1 << 20 // the kernel has 20 bits for minors
	n, err := strconv.Atoi(f[key])
	if err != nil || n < 0 || n >= most {
		return 0, fmt.Errorf("%s %.40q is no number", key, f[key])
	}
	return n, nil
}

// note adds one line. A resource comes before what it consists of.
func note(found map[string]*State, kind string, f fields) error {
	name := f["name"]
	if err := checkResource(name); err != nil {
		return err
	}
	s := found[name]
	if kind == "resource" {
		v, err := f.need("role")
		if err != nil || s != nil {
			return errors.Join(err, twice(s != nil))
		}
		found[name] = &State{Resource: name, Role: v[0]}
		return nil
	}
	if s == nil {
		return fmt.Errorf("resource %s was not introduced", name)
	}
	switch kind {
	case "connection":
		return s.noteConnection(f)
	case "device":
		return s.noteDevice(f)
	case "peer-device":
		return s.notePeerDevice(f)
	}
	return nil // such as path, of DRBD 9
}

func twice(yes bool) error {
	if yes {
		return errors.New("it is there twice")
	}
	return nil
}

func (s *State) noteConnection(f fields) error {
	v, err := f.need("peer-node-id", "connection", "role")
	if err != nil {
		return err
	}
	if s.peer(v[0]) != nil {
		return twice(true)
	}
	s.Peers = append(s.Peers, Peer{NodeID: v[0], Name: f["conn-name"], Connection: v[1], Role: v[2], Disks: map[int]PeerDisk{}})
	return nil
}

func (s *State) noteDevice(f fields) error {
	volume, err := f.number("volume")
	if err != nil {
		return err
	}
	minor, err := f.number("minor")
	if err != nil {
		return err
	}
	v, err := f.need("disk")
	if err != nil {
		return err
	}
	if _, there := s.Device(volume); there {
		return twice(true)
	}
	s.Devices = append(s.Devices, Device{Volume: volume, Minor: minor, Disk: v[0]})
	return nil
}

func (s *State) notePeerDevice(f fields) error {
	volume, err := f.number("volume")
	if err != nil {
		return err
	}
	v, err := f.need("peer-node-id", "replication", "peer-disk")
	if err != nil {
		return err
	}
	p := s.peer(v[0])
	if p == nil {
		return fmt.Errorf("peer %.40q was not introduced", v[0])
	}
	if _, there := p.Disks[volume]; there {
		return twice(true)
	}
	p.Disks[volume] = PeerDisk{Replication: v[1], Disk: v[2]}
	return nil
}

func (s *State) peer(id string) *Peer {
	for i := range s.Peers {
		if s.Peers[i].NodeID == id {
			return &s.Peers[i]
		}
	}
	return nil
}
