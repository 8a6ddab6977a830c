package cluster

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/volbridge/volbridge/lab/linstor"
	"github.com/volbridge/volbridge/lab/machines"
)

// Nodes are the satellites: they drive DRBD 8.4 through drbdadm, with a loop
// device for the data and one for DRBD's own, so that a device is exactly as
// large as the controller says.
//
// DRBD 9 makes a device Primary when it is opened for writing, and Secondary
// when it is closed. 8.4 does neither. So a node becomes Primary here when the
// controller makes the volume available on it, or allows it beside the other:
// whoever has not opened the device yields to it, and who has stays, for then
// the kernel refuses. Before two are no longer allowed, whoever has not opened
// the device becomes Secondary again.
type Nodes struct {
	ctx   context.Context
	hosts map[string]*machines.Node
	names [2]string
}

func newNodes(ctx context.Context, hosts []*machines.Node) *Nodes {
	n := &Nodes{ctx: ctx, hosts: map[string]*machines.Node{}}
	for i, h := range hosts {
		n.hosts[h.Name()], n.names[i] = h, h.Name()
	}
	return n
}

// orderTime bounds what is done in the emulated machine.
const orderTime = 110 * time.Second

// shell runs a script on a node. It is a while on an emulated machine, so there is
// one for as much as possible.
func (n *Nodes) shell(node, script string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(n.ctx, orderTime)
	defer cancel()
	out, err := n.hosts[node].Shell(ctx, script, args...)
	if err != nil {
		err = fmt.Errorf("%s: %s", node, out) // what the tools said is enough
	}
	return strings.TrimSpace(out), err
}

// config of a resource is the same on both nodes. They always know each other:
// DRBD 8.4 has no resource with one node. An emulated machine under load does
// not answer a ping within DRBD's half second.
func (n *Nodes) config(r linstor.Resource) string {
	var hosts strings.Builder
	for _, name := range n.names {
		fmt.Fprintf(&hosts, "  on %s { address %s:%d; }\n", name, n.hosts[name].Address(), r.Port)
	}
	return fmt.Sprintf(`resource %s {
  protocol C;
  net { ping-timeout 50; }
  device /dev/drbd%d minor %d;
  disk %s;
  meta-disk %s;
%s}
`, r.Name, Minor(r), Minor(r), loop(r, "data"), loop(r, "meta"), &hosts)
}

// Minor of the volume's device, on every node.
func Minor(r linstor.Resource) int { return 1000 + r.Minor }

// loop devices have their names from the resource: a machine that was reset
// finds them by it.
func loop(r linstor.Resource, what string) string {
	minor := 2 * r.Minor
	if what == "meta" {
		minor++
	}
	return "/dev/loop" + strconv.Itoa(100+minor)
}

func file(r linstor.Resource, what string) string { return "/var/lib/linstor/" + r.Name + "." + what }

// deployScript: $1 resource, $2 "diskful" or "", $3 data size, $4 and $5 data
// file and device, $6 and $7 DRBD's own, $8 "" if a peer has the data, $9 the
// configuration. What is there stays. A first replica is empty, and good at once;
// a second one is copied from the first.
const deployScript = `
if drbdadm role "$1" >/dev/null 2>&1; then exit; fi
modprobe drbd; modprobe loop
mkdir -p /var/lib/linstor
printf %s "$9" >"/etc/drbd.d/$1.new"
mv "/etc/drbd.d/$1.new" "/etc/drbd.d/$1.res"
if [ "$2" ]; then
	new=
	[ -e "$4" ] || { new=1; truncate -s "$3" "$4"; truncate -s 8M "$6"; }
	losetup "$5" >/dev/null 2>&1 || losetup "$5" "$4"
	losetup "$7" >/dev/null 2>&1 || losetup "$7" "$6"
	[ -z "$new" ] || drbdadm -- --force create-md "$1"
	drbdadm up "$1"
	if [ "$new" ] && [ "$8" ]; then
		drbdadm -- --force primary "$1"
		drbdadm secondary "$1"
	fi
else
	drbdadm new-resource "$1"
	drbdadm new-minor "$1"
	drbdadm connect "$1"
fi`

// availableScript: a node that was just connected serves nobody before it has
// seen its peer, and a new replica not before it is complete. A peer that is away
// is waited for in vain, and the kernel may refuse.
const availableScript = `
if [ "$3" ]; then ! timeout 45 drbdadm wait-connect "$1" || timeout 60 drbdsetup wait-sync "$2"; fi
drbdadm primary "$1" || true`

// Deploy implements linstor.Satellites.
func (n *Nodes) Deploy(r linstor.Resource) error {
	diskful, first := "", "first"
	if r.Diskful {
		diskful = "diskful"
	}
	if len(r.Peers) > 0 {
		first = ""
	}
	_, err := n.shell(r.Node, deployScript, r.Name, diskful, strconv.FormatInt(r.SizeBytes, 10),
		file(r, "data"), loop(r, "data"), file(r, "meta"), loop(r, "meta"), first, n.config(r))
	return err
}

// Available implements linstor.Satellites.
func (n *Nodes) Available(r linstor.Resource) error {
	n.try("secondary", r.Name, r.Peers...)
	_, err := n.shell(r.Node, availableScript, r.Name, strconv.Itoa(Minor(r)), strings.Join(r.Peers, " "))
	return err
}

// try asks nodes for a role that the kernel may refuse, all at once.
func (n *Nodes) try(role, resource string, nodes ...string) {
	var wg sync.WaitGroup
	for _, node := range nodes {
		wg.Go(func() { _, _ = n.shell(node, `drbdadm "$1" "$2"`, role, resource) })
	}
	wg.Wait()
}

const removeScript = `
drbdadm down "$1"
for d in "$2" "$3"; do ! losetup "$d" >/dev/null 2>&1 || losetup -d "$d"; done
rm -f "/etc/drbd.d/$1.res" "$4" "$5"
udevadm settle`

// Remove implements linstor.Satellites.
func (n *Nodes) Remove(r linstor.Resource) error {
	_, err := n.shell(r.Node, removeScript, r.Name, loop(r, "data"), loop(r, "meta"), file(r, "data"), file(r, "meta"))
	return err
}

// Resize implements linstor.Satellites. DRBD 8.4 does not grow a device that a
// diskless node has.
func (n *Nodes) Resize(on []linstor.Resource) error {
	var last linstor.Resource
	for _, r := range on {
		if !r.Diskful {
			return fmt.Errorf("resource %s: DRBD 8.4 does not grow a device that a diskless node (%s) has", r.Name, r.Node)
		}
		if _, err := n.shell(r.Node, `truncate -s "$1" "$2"; losetup -c "$3"`, strconv.FormatInt(r.SizeBytes, 10),
			file(r, "data"), loop(r, "data")); err != nil {
			return err
		}
		last = r
	}
	if len(on) == 0 {
		return nil
	}
	_, err := n.shell(last.Node, `drbdadm -- --assume-clean --assume-peer-has-space resize "$1"`, last.Name)
	return err
}

// TwoPrimaries implements linstor.Satellites.
func (n *Nodes) TwoPrimaries(a, b linstor.Resource, on bool) error {
	both := []linstor.Resource{a, b}
	if on {
		if err := n.netOptions(both, "--protocol=C", "--allow-two-primaries"); err != nil {
			return err
		}
		n.try("primary", a.Name, a.Node, b.Node)
		return nil
	}
	n.try("secondary", a.Name, a.Node, b.Node)
	return n.netOptions(both, "--allow-two-primaries=no")
}

func (n *Nodes) netOptions(on []linstor.Resource, options ...string) error {
	for _, r := range on {
		if _, err := n.shell(r.Node, `drbdadm net-options "$@"`, append(options, r.Name)...); err != nil {
			return err
		}
	}
	return nil
}

// InUse implements linstor.Satellites.
func (n *Nodes) InUse(r linstor.Resource) (bool, error) {
	out, err := n.shell(r.Node, `find /proc/[0-9]*/fd -lname "$1" -print -quit 2>/dev/null || true`, "/dev/drbd"+strconv.Itoa(Minor(r)))
	return out != "", err
}
