package flash

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/machines"
	"github.com/volbridge/volbridge/lab/machines/nvmet"
)

// DataPath shows the volumes of an array to hosts, from a machine. Backing
// files and their loop devices are made when a host is first to see a volume.
type DataPath struct {
	ctx   context.Context
	node  *machines.Node
	array nvmet.Array

	mu     sync.Mutex
	loops  map[string]string            // serial → loop device in the machine
	mapped map[string]map[string]uint32 // serial → host NQN → NSID
	// uuids are of the volumes whose namespaces have a UUID beside the NGUID,
	// by serial.
	uuids map[string]string
}

func newDataPath(ctx context.Context, n *machines.Node, a nvmet.Array) *DataPath {
	return &DataPath{ctx: ctx, node: n, array: a, loops: map[string]string{},
		mapped: map[string]map[string]uint32{}, uuids: map[string]string{}}
}

// orderTime bounds what is done in the emulated machine.
const orderTime = time.Minute

func (d *DataPath) order(orders ...nvmet.Order) error {
	ctx, cancel := context.WithTimeout(d.ctx, orderTime)
	defer cancel()
	return d.node.Target(ctx, d.array, orders...)
}

func (d *DataPath) shell(script string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(d.ctx, orderTime)
	defer cancel()
	out, err := d.node.Shell(ctx, script, args...)
	return strings.TrimSpace(out), err
}

// File is a volume's backing file in the machine.
func File(serial string) string { return "/var/lib/array/" + serial }

// loop makes the volume's device. The caller has the lock.
func (d *DataPath) loop(n flasharray.Namespace) (string, error) {
	if node, there := d.loops[n.Serial]; there {
		return node, nil
	}
	node, err := d.shell(`mkdir -p /var/lib/array && truncate -s "$2" "$1" && modprobe loop &&
		losetup --find --show --direct-io=on --sector-size=512 "$1"`, File(n.Serial), fmt.Sprint(n.SizeBytes))
	if err == nil {
		d.loops[n.Serial] = node
	}
	return node, err
}

// Device is the loop device of a volume in the machine, made if need be.
func (d *DataPath) Device(n flasharray.Namespace) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.loop(n)
}

// SetUUID gives the namespace of a volume a UUID beside its NGUID from its next
// mapping on.
func (d *DataPath) SetUUID(serial, uuid string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.uuids[serial] = uuid
}

// Map implements flasharray.DataPath.
func (d *DataPath) Map(hostNQN string, nsid uint32, n flasharray.Namespace) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	node, err := d.loop(n)
	if err != nil {
		return err
	}
	if err := d.order(nvmet.Order{Do: nvmet.Map, Host: hostNQN, Namespace: nvmet.Namespace{
		NSID: nsid, Path: node, NGUID: n.NGUID, UUID: d.uuids[n.Serial]}}); err != nil {
		return err
	}
	if d.mapped[n.Serial] == nil {
		d.mapped[n.Serial] = map[string]uint32{}
	}
	d.mapped[n.Serial][hostNQN] = nsid
	return nil
}

// Unmap implements flasharray.DataPath.
func (d *DataPath) Unmap(hostNQN string, nsid uint32, n flasharray.Namespace) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.mapped[n.Serial], hostNQN)
	return d.order(nvmet.Order{Do: nvmet.Unmap, Host: hostNQN, Namespace: nvmet.Namespace{NSID: nsid}})
}

// Resize implements flasharray.DataPath.
func (d *DataPath) Resize(n flasharray.Namespace) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	node, there := d.loops[n.Serial]
	if !there {
		return nil
	}
	if _, err := d.shell(`truncate -s "$2" "$1" && losetup --set-capacity "$3"`, File(n.Serial), fmt.Sprint(n.SizeBytes), node); err != nil {
		return err
	}
	for nqn, nsid := range d.mapped[n.Serial] {
		if err := d.order(nvmet.Order{Do: nvmet.Resized, Host: nqn, Namespace: nvmet.Namespace{NSID: nsid}}); err != nil {
			return err
		}
	}
	return nil
}

// Remove implements flasharray.DataPath.
func (d *DataPath) Remove(n flasharray.Namespace) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	node, there := d.loops[n.Serial]
	if !there {
		return nil
	}
	delete(d.loops, n.Serial)
	_, err := d.shell(`losetup --detach "$2" && rm -f "$1"`, File(n.Serial), node)
	return err
}

// Swap puts another volume behind what a host knows a volume by, without a word
// to the array's management: what happens when an old mapping is used again.
func (d *DataPath) Swap(hostNQN string, was, is flasharray.Namespace) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	node, err := d.loop(is)
	if err != nil {
		return err
	}
	return d.order(nvmet.Order{Do: nvmet.Swap, Host: hostNQN, Namespace: nvmet.Namespace{
		NSID: d.mapped[was.Serial][hostNQN], Path: node, NGUID: is.NGUID}})
}

// SubsystemNQN is the name of the subsystem that the host with this NQN is told
// to connect to.
func (d *DataPath) SubsystemNQN(hostNQN string) string { return d.array.SubsystemNQN(hostNQN) }
