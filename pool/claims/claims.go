// Package claims keeps who holds a volume in small notes that the storage
// stores with the volume and shows to every host: tags, properties, attributes.
// It is for storage that cannot change a note "only if nobody else did".
//
// # Who wins
//
// A host writes a claim of its own first and reads the claims of all others
// then. Of two that ask at once, at least one sees the other and gives way, so
// that both stay cannot happen. That both go can: of two that are both recent,
// the one with the larger nonce goes at once and the other looks again for a
// while. Clocks and luck decide who wins, never whether two do.
//
// A deletion writes a mark in the same way: of a grant and a deletion at least
// one sees the other, and a grant gives way to a mark.
//
// # What a claim says
//
//	key    h.HOST.NONCE   HOST: hash of the host's id; NONCE: when it asked, and chance
//	value  1 MODE SINCE HOST-ID BOOT-ID OWNER-UUID PLACE HOST-NAME OWNER-NAME
//	key    leaving.NONCE  the volume is being deleted; the value is "1 SINCE"
//
// The fields are escaped as in URLs. PLACE is how the storage calls the host,
// after a Mark; "-" is no place.
package claims

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/volbridge/volbridge/pool"
)

// ErrGone is returned by a Board whose volume is not there any more, or is
// another one of the same name.
var ErrGone = errors.New("the volume was deleted meanwhile")

// Board holds the notes of one volume. What Write has returned from is seen by
// every Notes that begins later, on any host; that is all that the rules of this
// package rest on.
type Board interface {
	// Notes returns the notes of the volume, those of other programs too.
	Notes(ctx context.Context) (map[string]string, error)
	// Write makes or replaces notes, and then removes some, as Drop does, or does
	// both in one step: after an error each may be there or not.
	Write(ctx context.Context, notes map[string]string, drop ...string) error
	// Drop removes notes; one that is not there is no error, nor is a volume
	// that is gone.
	Drop(ctx context.Context, keys ...string) error
}

// Ledger is the claims on one volume.
type Ledger struct {
	Board        Board
	Pool, Volume string // for errors
	// MaxValue is how many characters the value of a note may have. Names that
	// are longer than the room that is left are shortened.
	MaxValue int
	// Now is the clock of this host.
	Now func() time.Time
	// Remedy says how a person removes a note, for errors.
	Remedy func(key string) string
}

// Place is where the storage lets a host reach the volume.
type Place struct {
	Name string // the storage's name of the host, which begins with no Mark; "" if there is none
	Mark Mark
}

// Mark is what a backend notes of the way to a Place. What it means is the
// backend's own.
type Mark string

// The marks, beside none.
const (
	Plus   Mark = "+"
	Equals Mark = "="
)

// Claim says that a host holds the volume, or asks for it.
type Claim struct {
	Key    string
	Holder pool.Holder
	Place  Place
	// Damaged: the value could not be read, only Key says something.
	Damaged error
}

// Read takes the claims out of a volume's notes, in the order of their keys.
func Read(notes map[string]string) []Claim {
	var found []Claim
	for _, key := range keysWith(notes, holderMark) {
		c, err := parse(key, notes[key])
		if err != nil {
			c = Claim{Key: key, Damaged: err}
		}
		found = append(found, c)
	}
	return found
}

// Holders are those that the claims tell of, each host, boot and owner once: a
// crash may leave two claims of one grant, of which the later counts.
func (l Ledger) Holders(claims []Claim) ([]pool.Holder, error) {
	type who struct{ host, boot, owner string }
	latest := map[who]Claim{}
	for _, c := range claims {
		if c.Damaged != nil {
			return nil, l.damaged(c)
		}
		k := who{c.Holder.Host.ID, c.Holder.BootID, c.Holder.Owner.UUID}
		if seen, ok := latest[k]; !ok || nonce(c.Key) > nonce(seen.Key) {
			latest[k] = c
		}
	}
	holders := make([]pool.Holder, 0, len(latest))
	for _, c := range latest {
		holders = append(holders, c.Holder)
	}
	pool.SortHolders(holders)
	return holders, nil
}

// damaged refuses to judge by a claim that cannot be read.
func (l Ledger) damaged(c Claim) error {
	return fmt.Errorf("a host of unknown name may hold the volume: note %s cannot be read: %w; if no host uses the volume, %s",
		clip(c.Key), c.Damaged, l.Remedy(clip(c.Key)))
}

// Split says which claims a request to revoke means, and which stay.
func (l Ledger) Split(r pool.RevokeRequest, claims []Claim) (meant, stay []Claim, err error) {
	for _, c := range claims {
		switch {
		case !c.OfHost(r.Host.ID):
			stay = append(stay, c)
		case c.Damaged != nil && len(r.BootIDs) > 0:
			return nil, nil, fmt.Errorf("it may be of a clone of this host: %w", l.damaged(c))
		case c.Damaged != nil || r.Covers(c.Holder.BootID):
			meant = append(meant, c)
		default:
			stay = append(stay, c)
		}
	}
	return meant, stay, nil
}

// OtherBoot is pool.ErrOtherBoot if one of the claims that stay has the id of
// the host whose access was to end.
func OtherBoot(r pool.RevokeRequest, stay []Claim) error {
	for _, c := range stay {
		if c.OfHost(r.Host.ID) {
			return fmt.Errorf("%w: host %s, boot %s", pool.ErrOtherBoot, c.Holder.Host.Name, c.Holder.BootID)
		}
	}
	return nil
}

// Again refuses to say that the host's access has ended where it has a claim that
// is meant after its claims were ended: it asked meanwhile, so it lives, whatever
// who fences it believes. left are the claims that are there now.
func (l Ledger) Again(r pool.RevokeRequest, left []Claim) error {
	meant, _, err := l.Split(r, left)
	if err != nil || len(meant) == 0 {
		return err
	}
	return fmt.Errorf("host %s asked for the volume again while its access was ended, and holds it: it is alive; "+
		"stop the domain there, or switch it off and repeat this", r.Host.Name)
}

// Conflict is a *pool.HeldError if one of the holders is in the way of a request.
func (l Ledger) Conflict(r pool.GrantRequest, holders []pool.Holder) error {
	if others := r.Conflicts(holders); len(others) > 0 {
		return &pool.HeldError{Pool: l.Pool, Volume: l.Volume, Holders: others, Request: &r}
	}
	return nil
}

// Unheld is a *pool.HeldError if a note says that somebody holds the volume.
func (l Ledger) Unheld(notes map[string]string) error {
	holders, err := l.Holders(Read(notes))
	if err == nil && len(holders) > 0 {
		err = &pool.HeldError{Pool: l.Pool, Volume: l.Volume, Holders: holders}
	}
	return err
}

// OfHost says whether the claim is one of this host id; a damaged one tells it
// too.
func (c Claim) OfHost(hostID string) bool { return strings.HasPrefix(c.Key, HostPrefix(hostID)) }

// Asked is when the claim was made, by the clock of its host; the zero time if
// its key does not say.
func (c Claim) Asked() time.Time { return madeAt(c.Key) }

// Keys of the claims.
func Keys(claims []Claim) []string {
	keys := make([]string, len(claims))
	for i, c := range claims {
		keys[i] = c.Key
	}
	return keys
}
