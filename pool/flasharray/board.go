package flasharray

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/volbridge/volbridge/pool/claims"
	"github.com/volbridge/volbridge/pool/flasharray/rest"
)

// Who holds a volume is kept in tags of the volume, see package claims; so is
// the CreationID. The place of a claim is the array's name of the host that the
// volume was connected to; there is none where a host group has the volume.

const (
	creationKey = "creation"
	// maxValue is how many characters a tag's value may have on the array.
	maxValue = 256
)

const (
	// kept marks the place of a claim whose connection was there before, and is
	// not ours to remove.
	kept = claims.Plus
	// unsure: the connection may have been there. The claim is one on its way, or
	// its owner died there.
	unsure = claims.Equals
)

// board keeps the notes of one volume in its tags.
type board struct {
	array  array
	volume volume
}

func (b *backend) ledger(v volume) claims.Ledger {
	return claims.Ledger{
		Board: board{b.array, v}, Pool: b.name, Volume: v.name, MaxValue: maxValue, Now: b.now,
		Remedy: func(key string) string {
			return fmt.Sprintf("remove tag %s of volume %s on array %s (namespace %s)", key, v.ArrayName, b.array.Array(), namespace)
		},
	}
}

// Notes implements claims.Board. A volume without any tag, of which nothing says
// how it is called, cannot have a claim: it is gone.
func (o board) Notes(ctx context.Context) (map[string]string, error) {
	tags, err := o.array.tags(ctx, o.volume.ID)
	if err != nil {
		return nil, stale(err)
	}
	if name := namedIn(tags); name != o.volume.ArrayName {
		return nil, fmt.Errorf("%w: it is called %q now", errStale, clip(name))
	}
	return notesOf(tags), nil
}

// Write implements claims.Board, in two steps where notes are removed.
func (o board) Write(ctx context.Context, notes map[string]string, drop ...string) error {
	var tags []arrayTag
	for _, key := range slices.Sorted(maps.Keys(notes)) {
		tags = append(tags, newTag(key, notes[key]))
	}
	err := o.array.putTags(ctx, o.volume.ID, tags...)
	if errors.Is(err, rest.ErrLimit) {
		return fmt.Errorf("the volume has no room for another tag: remove tags of others on array %s "+
			"(volbridge needs one for each holder, and three more): %w", o.array.Array(), err)
	}
	if err != nil {
		return stale(err)
	}
	return o.Drop(ctx, drop...)
}

// Drop implements claims.Board.
func (o board) Drop(ctx context.Context, keys ...string) error {
	return o.array.dropTags(ctx, o.volume.ID, keys...)
}

// notesOf are the notes in tags of one volume.
func notesOf(tags []arrayTag) map[string]string {
	notes := map[string]string{}
	for _, t := range tags {
		if t.Namespace == namespace {
			notes[t.Key] = t.Value
		}
	}
	return notes
}

// claimsIn are the claims in tags of one volume.
func claimsIn(tags []arrayTag) []claims.Claim { return claims.Read(notesOf(tags)) }

// creationOf is the CreationID in a volume's tags.
func creationOf(tags []arrayTag) string { return notesOf(tags)[creationKey] }

// namedIn is what the tags say that their volume is called now; "" if there
// are none.
func namedIn(tags []arrayTag) string {
	for _, t := range tags {
		if t.Resource != nil && strings.TrimSpace(t.Resource.Name) != "" {
			return t.Resource.Name
		}
	}
	return ""
}
