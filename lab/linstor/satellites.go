package linstor

// Satellites are what the nodes do when the controller tells them: the data
// path. Its methods are called one at a time, before the call that causes them
// is answered; an error becomes the answer. Repeating a call does no harm.
//
// The kernel's side of DRBD decides who may write: a node only if it is the one
// that opened the device, or if two primaries are allowed between it and the
// other. Where a device does not promote itself when it is opened (DRBD 8.4),
// Available and TwoPrimaries try to make the node primary, and TwoPrimaries
// tries to make every node secondary before it switches off; that is refused,
// and harmless, where the device is open.
type Satellites interface {
	// Deploy makes the volume's device appear on r.Node, or brings it up again
	// after its peers changed.
	Deploy(r Resource) error
	// Available says that somebody on r.Node is about to open the device.
	Available(r Resource) error
	// Remove takes the device from the node, with the replica if it has one.
	Remove(r Resource) error
	// Resize says that the volume, deployed on these nodes, has another size.
	Resize(on []Resource) error
	// TwoPrimaries lets both nodes write, or ends that.
	TwoPrimaries(a, b Resource, on bool) error
	// InUse says whether somebody has the device open.
	InUse(r Resource) (bool, error)
}

// Resource is a volume on a node.
type Resource struct {
	Name, Node string
	// SizeBytes is what the device has.
	SizeBytes int64
	Diskful   bool
	Minor     int
	// NodeID is the node's number within the resource, Port the resource's.
	NodeID, Port int
	// Peers are the names of the other nodes that have the resource.
	Peers []string
}

func (c *Controller) onNode(d *definition, r *resource) Resource {
	out := Resource{Name: d.name, Node: r.node.name, SizeBytes: c.usable(d) * 1024, Diskful: r.pool != nil,
		Minor: d.volume.minor, NodeID: r.id, Port: d.port}
	for _, other := range d.sorted() {
		if other != r {
			out.Peers = append(out.Peers, other.node.name)
		}
	}
	return out
}

// tell calls the data path, if there is one and the node can be told.
func (c *Controller) tell(d *definition, r *resource, do func(Satellites, Resource) error) *failure {
	if c.o.Satellites == nil || !r.node.online {
		return nil
	}
	if err := do(c.o.Satellites, c.onNode(d, r)); err != nil {
		return failed(codeUnknown, "(Node: '%s') %s", r.node.name, err)
	}
	return nil
}

// inUse asks the data path.
func (c *Controller) inUse(d *definition, r *resource) bool {
	if c.o.Satellites == nil || !r.node.online {
		return r.inUse
	}
	open, err := c.o.Satellites.InUse(c.onNode(d, r))
	return err == nil && open || r.inUse
}

// twoPrimaries makes the data path follow the properties.
func (c *Controller) twoPrimaries(d *definition) *failure {
	all := d.sorted()
	for i, a := range all {
		for _, b := range all[i+1:] {
			pair, on := pairOf(a.node.name, b.node.name), d.twoPrimaries(a, b)
			if d.dual[pair] == on {
				continue
			}
			if bad := c.tellTwo(d, a, b, on); bad != nil {
				return bad
			}
			d.dual[pair] = on
		}
	}
	return nil
}

func (c *Controller) tellTwo(d *definition, a, b *resource, on bool) *failure {
	if c.o.Satellites == nil || !a.node.online || !b.node.online {
		return nil
	}
	if err := c.o.Satellites.TwoPrimaries(c.onNode(d, a), c.onNode(d, b), on); err != nil {
		return failed(codeUnknown, "%s", err)
	}
	return nil
}

// disconnect ends the connections of a node that leaves, and what they allowed:
// in the kernel of a peer that goes with the connection.
func (c *Controller) disconnect(d *definition, r *resource) *failure {
	for _, other := range d.sorted() {
		pair := pairOf(r.node.name, other.node.name)
		if d.dual[pair] {
			if bad := c.tellTwo(d, r, other, false); bad != nil {
				return bad
			}
		}
		delete(d.connections, pair)
		delete(d.dual, pair)
	}
	return nil
}
