package flasharray

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options describe an array. The zero value is one with nsid in its
// connections, without a data path.
type Options struct {
	Name    string // "" is "flash1"
	Version string // newest REST version, "" is "2.36"; "2.26" shows no nsid

	APIToken       string // "" is TestToken
	User, Password string // no such log-in if User is empty

	// Role of the one user there is, "" is "storage_admin"; "readonly" may only
	// look.
	Role string

	SubsystemNQN string // "" is made of Name
	// SubsystemFor replaces SubsystemNQN by what the caller at an IP address is
	// told, for a target that cannot show each host its own namespaces under
	// one name; nil: everybody is told the same.
	SubsystemFor func(caller string) string
	Portals      []string // IP addresses that serve nvme-tcp

	// Dir holds the volumes' sparse backing files; "": the volumes have none.
	Dir string
	// DataPath is told who sees what, before the call that changes it is
	// answered; nil: nobody.
	DataPath DataPath

	CapacityBytes int64 // 0 is 100 TiB
	PageLimit     int   // most items of a page, 0 is 1000
	TagLimit      int   // most tags of a volume, 0 is 30
	// StrictTags refuses to remove a list of tags of which one is missing; else
	// the others are removed. Which of them an array does is not documented.
	StrictTags  bool
	SessionLife time.Duration // 0: sessions do not end by time
	Latency     time.Duration // of every call
	// SafeMode refuses every eradication; otherwise only volumes created with
	// default protection are kept from it.
	SafeMode bool
}

// TestToken is the API token of an array that was given none.
const TestToken = "11111111-2222-3333-4444-555555555555"

// Array is the stand-in. Its methods may be called by several goroutines; each
// call takes effect at one instant.
type Array struct {
	o     Options
	minor int

	mu       sync.Mutex
	volumes  map[string]*volume // by id
	byName   map[string]*volume // by lower-case name
	bySerial map[string]*volume
	order    []*volume // by name, nil if it must be sorted anew
	hosts    map[string]*host
	groups   map[string]*hostGroup
	pods     map[string]*pod
	sessions map[string]time.Time // token → when it was made
	shown    map[view]shownAs

	skew time.Duration // of its clock, as its answers show it

	connectedTo map[*volume]bool // those with a connection
	log         callLog
	late        []lateCall
}

// New makes an empty array.
func New(o Options) *Array {
	o.Name = cmp.Or(o.Name, "flash1")
	o.Version = cmp.Or(o.Version, "2.36")
	o.APIToken = cmp.Or(o.APIToken, TestToken)
	o.Role = cmp.Or(o.Role, "storage_admin")
	o.SubsystemNQN = cmp.Or(o.SubsystemNQN, "nqn.2010-06.com.purestorage:flasharray."+strings.ToLower(o.Name))
	o.CapacityBytes = cmp.Or(o.CapacityBytes, 100<<40)
	o.PageLimit = cmp.Or(o.PageLimit, 1000)
	o.TagLimit = cmp.Or(o.TagLimit, 30)
	a := &Array{
		o: o, volumes: map[string]*volume{}, byName: map[string]*volume{}, bySerial: map[string]*volume{},
		hosts: map[string]*host{}, groups: map[string]*hostGroup{}, pods: map[string]*pod{},
		sessions: map[string]time.Time{}, shown: map[view]shownAs{},
		connectedTo: map[*volume]bool{},
	}
	if _, err := fmt.Sscanf(o.Version, "2.%d", &a.minor); err != nil {
		panic("flasharray: version " + o.Version + " is not 2.x")
	}
	return a
}

// volume is one volume, live or destroyed.
type volume struct {
	ID, Name, Serial string
	Bytes            int64
	Created          time.Time
	Destroyed        bool
	Protected        bool // by the array's default protection: cannot be eradicated
	Source           string
	Tags             []tag
	Hosts            map[string]uint32 // host connections: host key → nsid
	Groups           map[string]uint32 // host-group connections: group key → nsid
}

type host struct {
	Name             string
	NQNs, IQNs, WWNs []string
	Group            string // key of its host group, or ""
}

type hostGroup struct{ Name string }

type pod struct {
	ID, Name   string
	QuotaBytes int64 // 0: none
}

type tag struct {
	Namespace, Key, Value string
	Copyable              bool
}

// key is what names are compared by: the array keeps their case but does not
// tell names apart by it.
func key(name string) string { return strings.ToLower(name) }

func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (a *Array) newSerial() string {
	for {
		var b [12]byte
		rand.Read(b[:])
		if s := fmt.Sprintf("%X", b); a.bySerial[s] == nil {
			return s
		}
	}
}

// add makes v part of the array.
func (a *Array) add(v *volume) {
	v.ID, v.Serial, v.Created = newID(), a.newSerial(), time.Now()
	v.Hosts, v.Groups = map[string]uint32{}, map[string]uint32{}
	a.volumes[v.ID], a.byName[key(v.Name)], a.bySerial[v.Serial], a.order = v, v, v, nil
}

func (a *Array) drop(v *volume) {
	delete(a.volumes, v.ID)
	delete(a.byName, key(v.Name))
	delete(a.bySerial, v.Serial)
	a.order = nil
}

func (a *Array) rename(v *volume, name string) {
	delete(a.byName, key(v.Name))
	v.Name = name
	a.byName[key(name)], a.order = v, nil
}

// sorted are all volumes by name. It is remembered, because reading all pages
// of a large array asks for it once per page.
func (a *Array) sorted() []*volume {
	if a.order == nil {
		a.order = slices.SortedFunc(maps.Values(a.volumes), func(x, y *volume) int { return cmp.Compare(key(x.Name), key(y.Name)) })
	}
	return a.order
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
