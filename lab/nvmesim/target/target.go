// Package target plays the data path of an array, and the NVMe of the kernels
// of lab hosts that have connected to it; see package nvmesim.
package target

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/nvmesim"
)

// Options describe a target.
type Options struct {
	SubsystemNQN string
	// Host finds a host of the lab by its name, as this machine sees it now: its
	// root directory. It fails while the host is down.
	Host func(name string) (root string, err error)
	// Knows says whether the array knows a host by this NQN; others are not let
	// in.
	Knows func(hostNQN string) bool
}

// Target implements flasharray.DataPath.
type Target struct {
	o       Options
	rescans *rescans

	mu      sync.Mutex
	mapped  map[string]map[uint32]flasharray.Namespace // what the array shows, by host NQN and NSID
	lies    map[string]flasharray.Namespace            // by NGUID: what its namespace really is
	kernels []*kernel
	silent  bool // no event is sent when something changes
	ports   map[string]*port
}

// New makes a target without portals.
func New(o Options) (*Target, error) {
	t := &Target{o: o, mapped: map[string]map[uint32]flasharray.Namespace{}, lies: map[string]flasharray.Namespace{},
		ports: map[string]*port{}}
	var err error
	t.rescans, err = watchRescans(t.rescan)
	return t, err
}

// Map implements flasharray.DataPath.
func (t *Target) Map(nqn string, nsid uint32, n flasharray.Namespace) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mapped[nqn] == nil {
		t.mapped[nqn] = map[uint32]flasharray.Namespace{}
	}
	t.mapped[nqn][nsid] = n
	return t.changed(nqn)
}

// Unmap implements flasharray.DataPath.
func (t *Target) Unmap(nqn string, nsid uint32, _ flasharray.Namespace) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.mapped[nqn], nsid)
	return t.changed(nqn)
}

// Resize implements flasharray.DataPath.
func (t *Target) Resize(n flasharray.Namespace) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for nqn, spaces := range t.mapped {
		for nsid, old := range spaces {
			if old.Serial != n.Serial {
				continue
			}
			spaces[nsid] = n
			errs = append(errs, t.changed(nqn))
		}
	}
	return errors.Join(errs...)
}

// Remove implements flasharray.DataPath. There is nothing to do: a device goes
// with its mapping.
func (t *Target) Remove(flasharray.Namespace) error { return nil }

// changed makes the kernels of a host see what its NQN is shown now, or, if the
// target is silent, lets the namespaces alone tell it when they are asked.
func (t *Target) changed(nqn string) error {
	var errs []error
	for _, k := range t.alive() {
		if k.hostNQN != nqn {
			continue
		}
		errs = append(errs, k.tellTruth(t.truth(nqn)))
		if !t.silent {
			errs = append(errs, t.scan(k))
		}
	}
	return errors.Join(errs...)
}

// scan does what a kernel does when it is told of changes. Like Linux it does
// not look again at an NSID that it has just dropped until it is told again,
// which an event of the array does, and a rescan by hand does not.
func (t *Target) scan(k *kernel) error {
	dropped, err := k.drop(t.mapped[k.hostNQN])
	if !t.silent {
		dropped = nil
	}
	truth := t.truth(k.hostNQN)
	return errors.Join(err, k.add(t.mapped[k.hostNQN], truth, dropped), k.tellTruth(truth))
}

// truth is what the namespaces of a host say of themselves.
func (t *Target) truth(nqn string) map[uint32]flasharray.Namespace {
	all := map[uint32]flasharray.Namespace{}
	for nsid, n := range t.mapped[nqn] {
		all[nsid] = n
		if lie, there := t.lies[n.NGUID]; there {
			all[nsid] = lie
		}
	}
	return all
}

// rescan serves a host that has written to a controller's rescan_controller.
func (t *Target) rescan(controllerDir string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.alive() {
		if k.has(controllerDir) {
			// A host that vanishes meanwhile needs no scan.
			_ = t.scan(k)
		}
	}
}

// alive forgets the kernels of hosts that went down or booted since.
func (t *Target) alive() []*kernel {
	t.kernels = slices.DeleteFunc(t.kernels, func(k *kernel) bool {
		if root, err := t.o.Host(k.host); err == nil && root == k.root {
			return false
		}
		k.powerOff()
		return true
	})
	return t.kernels
}

// connect lets a host in through a portal.
func (t *Target) connect(h nvmesim.Hello, portal string) nvmesim.Welcome {
	known := t.o.Knows(h.HostNQN) // asks the array, which may be waiting for us
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case h.SubsystemNQN != t.o.SubsystemNQN:
		return refusal("there is no subsystem %s at %s", h.SubsystemNQN, portal)
	case !known:
		return refusal("subsystem %s does not allow host %s", h.SubsystemNQN, h.HostNQN)
	}
	k, err := t.kernel(h)
	if err != nil {
		return refusal("%v", err)
	}
	if name, there := k.through(portal); there {
		return nvmesim.Welcome{Controller: name, There: true}
	}
	c, err := k.connect(portal)
	if err == nil {
		err = errors.Join(t.rescans.add(c), t.scan(k))
	}
	if err != nil {
		return refusal("%v", err)
	}
	return nvmesim.Welcome{Controller: c.name}
}

func refusal(format string, args ...any) nvmesim.Welcome {
	return nvmesim.Welcome{Refusal: fmt.Sprintf(format, args...)}
}

func (t *Target) kernel(h nvmesim.Hello) (*kernel, error) {
	root, err := t.o.Host(h.Host)
	if err != nil {
		return nil, err
	}
	for _, k := range t.alive() {
		if k.host == h.Host && k.hostNQN == h.HostNQN {
			return k, nil
		}
	}
	k := &kernel{host: h.Host, root: root, hostNQN: h.HostNQN, hostID: h.HostID, subsystemNQN: t.o.SubsystemNQN,
		spaces: map[uint32]*space{}}
	t.kernels = append(t.kernels, k)
	return k, nil
}

// SetSilent says whether the target keeps quiet about changes (no AEN), so that
// hosts see them only when they scan.
func (t *Target) SetSilent(silent bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.silent = silent
}

// Swap puts another volume behind the namespaces of one volume: hosts that have
// it keep taking it for what it was, unless they ask the device itself. An other
// without NGUID ends it.
func (t *Target) Swap(nguid string, other flasharray.Namespace) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lies[nguid] = other; other.NGUID == "" {
		delete(t.lies, nguid)
	}
	var errs []error
	for _, k := range t.alive() {
		errs = append(errs, k.tellTruth(t.truth(k.hostNQN)))
	}
	return errors.Join(errs...)
}

// Listen opens a portal in the network of the process pid.
func (t *Target) Listen(ctx context.Context, pid int, address string) error {
	l, err := ListenIn(ctx, pid, address)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ports[address] = &port{listener: l}
	t.ports[address].serve(t, address)
	return t.setStates(address, "live")
}

// Cut closes a portal: its controllers lose their connection and try to get it
// back until Listen opens it again.
func (t *Target) Cut(address string) error {
	t.mu.Lock()
	p := t.ports[address]
	delete(t.ports, address)
	err := t.setStates(address, "connecting")
	t.mu.Unlock()
	if p == nil {
		return errors.Join(err, fmt.Errorf("there is no portal %s", address))
	}
	return errors.Join(err, p.close())
}

func (t *Target) setStates(portal, state string) error {
	var errs []error
	for _, k := range t.alive() {
		errs = append(errs, k.setState(portal, state))
		if _, there := k.through(portal); there && state == "live" {
			errs = append(errs, t.scan(k)) // as a kernel does on every connect
		}
	}
	return errors.Join(errs...)
}

// Controllers lists what hosts have, as "kvm01 nvme0 10.77.0.1:4420".
func (t *Target) Controllers() (list []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.alive() {
		for _, c := range k.controllers {
			list = append(list, k.host+" "+c.name+" "+c.portal)
		}
	}
	slices.SortFunc(list, cmp.Compare)
	return list
}

// Close takes every device away.
func (t *Target) Close() error {
	t.mu.Lock()
	ports := t.ports
	t.ports = map[string]*port{}
	t.mu.Unlock()
	errs := []error{t.rescans.close()}
	for _, p := range ports {
		errs = append(errs, p.close())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.alive() {
		errs = append(errs, k.disconnect())
	}
	t.kernels = nil
	return errors.Join(errs...)
}

// port is an open portal.
type port struct {
	listener net.Listener
	running  sync.WaitGroup
}
