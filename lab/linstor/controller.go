package linstor

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options of a controller; the zero value is one without a login.
type Options struct {
	// User and Password, or Token, are what a caller must show.
	User, Password, Token string
	// NoTieBreaker: two replicas get no third voter.
	NoTieBreaker bool
	// Latency is waited before each call.
	Latency time.Duration
	// Satellites are the data path; nil: there is none.
	Satellites Satellites
	// Watch is told of each call that was not disturbed by a fault.
	Watch func(Exchange)
}

// Exchange is a call and its answer.
type Exchange struct {
	Method, Pattern string // "/v1/nodes/{node}"
	Query           string
	Request         []byte // nil if there is none
	Status          int
	Response        []byte
}

// Controller is one controller with its cluster.
type Controller struct {
	o   Options
	mux *http.ServeMux
	log callLog

	mu      sync.Mutex
	passive bool
	inexact bool
	nodes   map[string]*node // all keys are names in upper case
	groups  map[string]*group
	defs    map[string]*definition
	counter int
}

type node struct {
	name   string
	online bool
	pools  []*Pool
}

// Pool is a storage pool of a node.
type Pool struct {
	Name string
	Kind string // LVM, LVM_THIN, ZFS …
	// TotalKiB that the pool has; all volumes count in full.
	TotalKiB int64
	// ExtentKiB is what sizes are rounded up to, 0: nothing.
	ExtentKiB int64

	used int64
}

// Group is a resource group.
type Group struct {
	Name string
	// PlaceCount is how many replicas a volume gets, 0: 2.
	PlaceCount int
	// Pools that replicas are put into, none: any.
	Pools []string
}

type group struct{ Group }

// New makes a controller.
func New(o Options) *Controller {
	c := &Controller{o: o, nodes: map[string]*node{}, groups: map[string]*group{}, defs: map[string]*definition{}}
	c.mux = c.routes()
	return c
}

// AddNode adds a node that is online.
func (c *Controller) AddNode(name string, pools ...Pool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := &node{name: name, online: true}
	for _, p := range pools {
		n.pools = append(n.pools, &p)
	}
	c.nodes[upper(name)] = n
}

// AddGroup adds a resource group.
func (c *Controller) AddGroup(g Group) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g.PlaceCount == 0 {
		g.PlaceCount = 2
	}
	c.groups[upper(g.Name)] = &group{g}
}

// SetOnline says whether the controller has a connection to the node. A node
// that comes back removes what was deleted meanwhile.
func (c *Controller) SetOnline(name string, online bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.node(name).online = online
	for _, d := range c.defs {
		if d.deleting && online {
			c.finishDelete(d)
		}
	}
}

// SetPassive makes this controller one that another one has taken over from: it
// answers everything with 503.
func (c *Controller) SetPassive(passive bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passive = passive
}

// SetExactSizes says whether the controller knows exact sizes, as from version
// 1.27 on. An older one refuses the property, as it refuses every key that it
// does not know; the storage then makes of a size what it likes.
func (c *Controller) SetExactSizes(known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inexact = !known
}

// SetInUse says that somebody has opened the volume's device on a node.
func (c *Controller) SetInUse(name, node string, inUse bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.defs[upper(name)].resources[upper(node)].inUse = inUse
}

// AddVolume makes a deployed volume as an administrator does, with a replica on
// each of the nodes in their first pool.
func (c *Controller) AddVolume(group, name string, sizeKiB int64, nodes ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.newDefinition(name, group, nil)
	d.volume = &volumeDefinition{sizeKiB: sizeKiB, minor: c.next(), uuid: c.uuid()}
	c.defs[upper(name)] = d
	for _, n := range nodes {
		if bad := c.deploy(d, c.node(n), c.node(n).pools[0]); bad != nil {
			return fmt.Errorf("%s", bad.message)
		}
	}
	return nil
}

// RemoveVolume deletes a volume as an administrator does.
func (c *Controller) RemoveVolume(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.defs[upper(name)]
	if d == nil {
		return fmt.Errorf("the stand-in has no %s", name)
	}
	d.deleting = true
	if bad := c.finishDelete(d); bad != nil {
		return fmt.Errorf("%s", bad.message)
	}
	return nil
}

func (c *Controller) node(name string) *node {
	n := c.nodes[upper(name)]
	if n == nil {
		panic("the stand-in has no node " + name)
	}
	return n
}

func upper(name string) string { return strings.ToUpper(name) }

func (c *Controller) next() int { c.counter++; return c.counter }

func (c *Controller) uuid() string {
	return fmt.Sprintf("c0000000-0000-4000-8000-%012d", c.next())
}
