package flasharray

import (
	"fmt"
	"net/url"
	"slices"
	"time"
)

// What an administrator of the array prepares, without a call of REST. Wrong
// arguments are the caller's mistake and panic.

// AddPod makes a pod; quotaBytes 0 is none.
func (a *Array) AddPod(name string, quotaBytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	must(checkName("pod", name))
	a.pods[key(name)] = &pod{ID: newID(), Name: name, QuotaBytes: quotaBytes}
}

// AddHost makes a host that is known by NQNs.
func (a *Array) AddHost(name string, nqns ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	must(checkName("host", name))
	h := &host{Name: name, NQNs: nqns}
	must(a.checkIdentities(h))
	a.hosts[key(name)] = h
}

// RenameHost gives a host another name. Its connections stay, and who is connected
// notices nothing.
func (a *Array) RenameHost(from, to string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	must(checkName("host", to))
	h := a.hosts[key(from)]
	if h == nil || a.hosts[key(to)] != nil {
		panic("flasharray: host " + from + " cannot be renamed to " + to)
	}
	h.Name = to
	delete(a.hosts, key(from))
	a.hosts[key(to)] = h
	for v := range a.connectedTo {
		if nsid, there := v.Hosts[key(from)]; there {
			delete(v.Hosts, key(from))
			v.Hosts[key(to)] = nsid
		}
	}
	must(a.show())
}

// AddGroup makes a host group of hosts that are there.
func (a *Array) AddGroup(name string, hosts ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	must(checkName("host group", name))
	a.groups[key(name)] = &hostGroup{Name: name}
	for _, h := range hosts {
		must(a.join(a.hosts[key(h)], name))
	}
}

// AddVolumes makes n volumes named prefix1 and so on, quickly and without
// backing files.
func (a *Array) AddVolumes(prefix string, n int, sizeBytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range n {
		v := &volume{Name: fmt.Sprintf("%s%d", prefix, i+1), Bytes: sizeBytes}
		must(a.checkVolumeName(v.Name))
		a.add(v)
	}
}

func must(bad *failure) {
	if bad != nil {
		panic("flasharray: " + bad.Error())
	}
}

// Volume is what the array knows of one volume.
type Volume struct {
	ID, Name, Serial string
	SizeBytes        int64
	Destroyed        bool
	File             string            // its backing file, "" if it has none
	Tags             map[string]string // namespace/key → value
	Hosts, Groups    []string          // that it is connected to, by name
}

// Volumes lists all volumes, destroyed ones too, by name.
func (a *Array) Volumes() (list []Volume) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range a.sorted() {
		list = append(list, a.state(v))
	}
	return list
}

// Volume finds one by name.
func (a *Array) Volume(name string) (Volume, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := a.byName[key(name)]
	if v == nil {
		return Volume{}, false
	}
	return a.state(v), true
}

func (a *Array) state(v *volume) Volume {
	s := Volume{ID: v.ID, Name: v.Name, Serial: v.Serial, SizeBytes: v.Bytes, Destroyed: v.Destroyed, File: a.backing(v),
		Tags: map[string]string{}}
	for _, t := range v.Tags {
		s.Tags[t.Namespace+"/"+t.Key] = t.Value
	}
	for _, h := range sortedKeys(v.Hosts) {
		s.Hosts = append(s.Hosts, a.hosts[h].Name)
	}
	for _, g := range sortedKeys(v.Groups) {
		s.Groups = append(s.Groups, a.groups[g].Name)
	}
	return s
}

// Knows says whether a host has this NQN.
func (a *Array) Knows(nqn string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.hosts {
		if slices.Contains(h.NQNs, nqn) {
			return true
		}
	}
	return false
}

// Connections lists "volume host" and "volume @group", sorted.
func (a *Array) Connections() (list []string) {
	for _, v := range a.Volumes() {
		for _, h := range v.Hosts {
			list = append(list, v.Name+" "+h)
		}
		for _, g := range v.Groups {
			list = append(list, v.Name+" @"+g)
		}
	}
	slices.Sort(list)
	return list
}

// SetSafeMode turns the refusal of every eradication on or off.
func (a *Array) SetSafeMode(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.o.SafeMode = on
}

// Connect and Disconnect change a host's own connection, as an administrator
// of the array might.
func (a *Array) Connect(host, volume string) error {
	return a.administer((*Array).postConnections, "host_names", host, volume)
}

// ConnectGroup shows a volume to a host group, as an administrator might.
func (a *Array) ConnectGroup(group, volume string) error {
	return a.administer((*Array).postConnections, "host_group_names", group, volume)
}

// Disconnect is the inverse of Connect.
func (a *Array) Disconnect(host, volume string) error {
	return a.administer((*Array).deleteConnections, "host_names", host, volume)
}

func (a *Array) administer(do func(*Array, *request) (any, *failure), parameter, to, volume string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := &request{query: url.Values{parameter: {to}, "volume_names": {volume}}}
	if _, bad := do(a, r); bad != nil {
		return bad
	}
	return nil
}

// SkewClock sets the array's clock wrong by d, as the head of its answers shows
// it; 0 sets it right.
func (a *Array) SkewClock(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.skew = d
}
