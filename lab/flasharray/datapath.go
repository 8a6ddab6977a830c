package flasharray

import (
	"cmp"
	"net/http"
	"slices"
)

// Namespace is a volume as hosts see it.
type Namespace struct {
	Serial, NGUID string
	SizeBytes     int64
	File          string // its backing file
}

// DataPath shows volumes to hosts. Its methods are called one at a time, and
// before the REST call that causes them is answered; an error becomes the
// array's internal error.
type DataPath interface {
	// Map lets a host see a namespace.
	Map(hostNQN string, nsid uint32, n Namespace) error
	// Unmap takes it away again.
	Unmap(hostNQN string, nsid uint32, n Namespace) error
	// Resize says that a namespace, which hosts may see, has another size.
	Resize(n Namespace) error
	// Remove says that the backing file of a volume that no host sees is about
	// to go.
	Remove(n Namespace) error
}

// view is one volume in the eyes of one host.
type view struct {
	nqn    string
	volume *volume
}

type shownAs struct{ nsid uint32 }

// NGUID is the identity of a volume's namespace.
func NGUID(serial string) string {
	s := key(serial)
	return "00" + s[:14] + "24a937" + s[14:]
}

func (a *Array) namespace(v *volume) Namespace {
	return Namespace{Serial: v.Serial, NGUID: NGUID(v.Serial), SizeBytes: v.Bytes, File: a.backing(v)}
}

// show makes the data path show what the connections say: first what goes,
// then what comes, because an NSID may be used again.
func (a *Array) show() *failure {
	if a.o.DataPath == nil {
		return nil
	}
	wanted := a.wanted()
	for _, w := range byHost(a.shown) {
		if as, keep := wanted[w]; keep && as == a.shown[w] {
			continue
		}
		if err := a.o.DataPath.Unmap(w.nqn, a.shown[w].nsid, a.namespace(w.volume)); err != nil {
			return &failure{http.StatusInternalServerError, w.volume.Name, err.Error()}
		}
		delete(a.shown, w)
	}
	for _, w := range byHost(wanted) {
		if _, there := a.shown[w]; there {
			continue
		}
		if err := a.o.DataPath.Map(w.nqn, wanted[w].nsid, a.namespace(w.volume)); err != nil {
			return &failure{http.StatusInternalServerError, w.volume.Name, err.Error()}
		}
		a.shown[w] = wanted[w]
	}
	return nil
}

// wanted is what the connections say: a host's own and its group's.
func (a *Array) wanted() map[view]shownAs {
	all := map[view]shownAs{}
	for v := range a.connectedTo {
		for _, c := range a.connectionsOf(v) {
			if c.host == "" {
				continue
			}
			for _, nqn := range a.hosts[c.host].NQNs {
				all[view{nqn, v}] = shownAs{c.nsid}
			}
		}
	}
	return all
}

// byHost orders views, so that each run is like the last.
func byHost(views map[view]shownAs) []view {
	list := make([]view, 0, len(views))
	for w := range views {
		list = append(list, w)
	}
	slices.SortFunc(list, func(x, y view) int {
		return cmp.Or(cmp.Compare(x.nqn, y.nqn), cmp.Compare(views[x].nsid, views[y].nsid), cmp.Compare(x.volume.ID, y.volume.ID))
	})
	return list
}
