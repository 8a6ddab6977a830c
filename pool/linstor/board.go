package linstor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/volbridge/volbridge/pool/claims"
	"github.com/volbridge/volbridge/pool/linstor/rest"
)

// board keeps the notes of one volume in the properties of its definition. The
// controller is one process that changes one definition at a time, so what it
// has confirmed is seen by everybody.
type board struct {
	linstor  *rest.Client
	resource string
	uuid     string // of the definition: a name may be used again
}

func (b *backend) board(v volume) board { return board{b.linstor, v.resource(), v.def.Uuid} }

func (b *backend) ledger(v volume) claims.Ledger {
	return claims.Ledger{
		Board: b.board(v), Pool: b.name, Volume: v.name, MaxValue: maxNote, Now: b.now,
		Remedy: func(key string) string {
			return fmt.Sprintf("remove the note (`linstor resource-definition set-property %s %s%s`, without a value)", v.resource(), noteSpace, key)
		},
	}
}

// gone translates the answers that mean that the definition is not there.
func gone(err error) error {
	if errors.Is(err, rest.ErrNoDefinition) {
		return fmt.Errorf("%w: %w", claims.ErrGone, err)
	}
	return err
}

// Notes implements claims.Board.
func (b board) Notes(ctx context.Context) (map[string]string, error) {
	d, err := b.linstor.Definition(ctx, b.resource)
	if err != nil {
		return nil, gone(err)
	}
	if d.Uuid != b.uuid || slices.Contains(d.Flags, deleting) {
		return nil, fmt.Errorf("%w (resource definition %s)", claims.ErrGone, b.resource)
	}
	return notesOf(d), nil
}

// Write implements claims.Board. It is one step.
func (b board) Write(ctx context.Context, notes map[string]string, drop ...string) error {
	props := make(map[string]string, len(notes))
	for k, v := range notes {
		props[noteSpace+k] = v
	}
	return gone(b.linstor.ModifyDefinition(ctx, b.resource, props, properties(drop)...))
}

// Drop implements claims.Board.
func (b board) Drop(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	err := b.Write(ctx, nil, keys...)
	if errors.Is(err, claims.ErrGone) {
		return nil
	}
	return err
}

func properties(keys []string) []string {
	props := make([]string, len(keys))
	for i, k := range keys {
		props[i] = noteSpace + k
	}
	return props
}
