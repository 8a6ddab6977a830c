package flasharray

import (
	"context"
	"slices"
	"time"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
)

// A connection that an administrator made is not volbridge's to end. The reply
// to the request for one says whether there was one; but who dies before that
// is noted leaves a claim, and that must not call the connection its own. So a
// claim is written as unsure, unless it is known beforehand that there is no
// connection: by what the array said of the volume just now, or by this host's
// own last look in this boot. Where a claim ends unsure its connection stays, with
// a warning.

// freeFor is how long what this host saw last counts: an administrator may have
// connected the volume since.
const freeFor = time.Hour

func freeKey(v volume) string { return "free/" + v.ID }

// free says whether this host is known not to be connected to the volume.
func (b *backend) free(v volume) bool {
	if v.connections != unknown {
		return v.connections == 0
	}
	var yes bool
	since, ok := b.array.Cache().Load(freeKey(v), &yes)
	return ok && yes && b.now().Sub(since) < freeFor
}

// selfKey has this host's name on the array, by its id: only a grant tells the
// pool which host is its own.
func selfKey(hostID string) string { return "self/" + hostID }

func (b *backend) noteSelf(h pool.Host, w way) {
	if name, ok := b.self(h.ID); w.host != "" && (!ok || name != w.host) {
		b.cacheFailed(b.array.Cache().Store(selfKey(h.ID), w.host))
	}
}

// self is what the array calls the host of this id, if that asked from here in
// this boot.
func (b *backend) self(hostID string) (arrayHost string, ok bool) {
	_, ok = b.array.Cache().Load(selfKey(hostID), &arrayHost)
	return arrayHost, ok && arrayHost != ""
}

// slowGrant is the age from which a claim is looked at once more before the
// connection is made: who fences a host waits for younger ones only.
const slowGrant = time.Minute

// ready is the last step before the connection is made.
func (a *announcement) ready(ctx context.Context) error {
	if a.Mine.Place.Name == "" {
		return nil
	}
	if a.b.now().Sub(a.Mine.Holder.Since) > slowGrant {
		if err := a.Judge(ctx); err != nil {
			return err
		}
	}
	if a.Mine.Place.Mark == unsure && a.explained() {
		a.Mine.Place.Mark = ""
		if err := a.Update(ctx, nil, nil); err != nil {
			return err
		}
	}
	a.b.forgetKey(freeKey(a.volume))
	return nil
}

// explained says whether all connections that the array counted just now are
// those of other hosts that hold the volume.
func (a *announcement) explained() bool {
	if a.volume.connections == unknown || slices.ContainsFunc(a.Others, a.sameHost) {
		return false
	}
	return a.volume.connections <= len(connectedBy(a.Others))
}

// connectedBy are the array's hosts of which claims speak.
func connectedBy(list []claims.Claim) (hosts []string) {
	for _, c := range list {
		if host := c.Place.Name; host != "" && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// sameHost says whether a claim speaks of the connection of this one. The host
// may have had another name on the array when it took the volume first.
func (a *announcement) sameHost(c claims.Claim) bool {
	return c.Place.Name == a.Mine.Place.Name || c.Place.Name != "" && c.OfHost(a.request.Host.ID)
}

// judgeConnection decides whose the connection is: the claims that were there
// say it, if one is sure; else the reply does.
func (a *announcement) judgeConnection(came connecting) {
	mark := &a.Mine.Place.Mark
	if a.Mine.Place.Name == "" {
		*mark = ""
		return
	}
	before := slices.DeleteFunc(slices.Clone(a.Others), func(c claims.Claim) bool { return !a.sameHost(c) })
	marked := func(m claims.Mark) bool {
		return slices.ContainsFunc(before, func(c claims.Claim) bool { return c.Place.Mark == m })
	}
	switch {
	case marked(kept):
		*mark = kept
	case came == connExisted && marked("") && a.b.sawKept(a.request.Host, a.Mine.Place.Name, a.volume):
		*mark = unsure // this host has seen otherwise, but could not write it down
	case marked(""), came == connMade:
		*mark = ""
	case len(before) > 0:
		*mark = unsure
	case came == connExisted:
		*mark = kept
		a.warnKept()
	}
	// Where it is unclear which of two requests made it, the claim stands: it
	// is sure if it was known that there was none.
}

// warnKept: the host was connected to a volume of volbridge's, and no claim
// says why. It may be an administrator's wish, or come of a call that the array
// carried out after its caller had given it up.
func (a *announcement) warnKept() {
	if a.Notes[creationKey] != "" { // volbridge made the volume
		a.b.log.Warnf("host %s of array %s was connected to volume %s before this grant, and stays connected after it; if nobody did that on purpose, %s once no guest uses the volume",
			a.Mine.Place.Name, a.b.array.Array(), a.volume.ArrayName, disconnectHint(a.Mine.Place.Name, a.volume.ArrayName))
	}
}

// disconnectHint is what to type on the array.
func disconnectHint(arrayHost, arrayVolume string) string {
	return "run 'purevol disconnect --host " + arrayHost + " " + arrayVolume + "' on the array"
}
