package linstor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/volbridge/volbridge/pool/claims"
	"github.com/volbridge/volbridge/pool/linstor/rest"
	"github.com/volbridge/volbridge/pool/settings"
)

// Two hosts that hold a volume may both write, which DRBD has to be told. Left
// on, that once led to a wrong decision of a cluster manager and to corruption.
// So a note on the definition says it before it is switched on, and whoever
// finds such a note while one node is left switches it off, at both levels.
//
//	key    two.PAIR   PAIR: hash of the two nodes' names
//	value  1 LEVEL NODE NODE PROTOCOL   what the definition's protocol was, "-" if none

const (
	twoNote    = "two."
	twoFormat  = "1"
	twoFields  = 5
	noProtocol = "-"

	allowTwo  = "DrbdOptions/Net/allow-two-primaries"
	protocol  = "DrbdOptions/Net/protocol"
	yes       = "yes"
	protocolC = "C" // the only one under which two primaries are possible
)

// level is where two primaries are allowed.
type level string

const (
	onResource   level = "resource"
	onConnection level = "connection"
)

// levelOf says where two primaries of these nodes are to be allowed. Two
// diskless nodes have no connection to each other, so that only what is set for
// the whole resource reaches them; a third node's state is of no matter.
func levelOf(at deployment, x, y string) (level, error) {
	both := true
	for _, name := range []string{x, y} {
		n, there := at.on(name)
		if !there {
			return "", fmt.Errorf("the volume is not on node %s, so that two nodes cannot use it: see `linstor resource list`", name)
		}
		both = both && n.diskless
	}
	if strings.EqualFold(x, y) {
		return "", fmt.Errorf("node %s is no pair", x)
	}
	if both {
		return onResource, nil
	}
	return onConnection, nil
}

// pair is a note of two nodes that may both write.
type pair struct {
	key      string
	level    level
	nodes    [2]string
	protocol string // of the definition before; "" if none
}

func newPair(l level, x, y, was string) pair {
	nodes := []string{x, y}
	slices.SortFunc(nodes, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	sum := sha256.Sum256([]byte(strings.ToLower(nodes[0] + " " + nodes[1])))
	return pair{twoNote + hex.EncodeToString(sum[:8]), l, [2]string(nodes), was}
}

func (p pair) note() map[string]string {
	was := p.protocol
	if was == "" {
		was = noProtocol
	}
	return map[string]string{p.key: strings.Join([]string{twoFormat, string(p.level), p.nodes[0], p.nodes[1], was}, " ")}
}

// readPairs takes the pairs out of a volume's notes. One that cannot be read is
// still a reason to switch off what is known.
func readPairs(notes map[string]string) (found []pair) {
	for _, key := range slices.Sorted(maps.Keys(notes)) {
		if !strings.HasPrefix(key, twoNote) {
			continue
		}
		p := pair{key: key}
		if f := strings.Split(notes[key], " "); len(f) == twoFields && f[0] == twoFormat {
			p.level, p.nodes = level(f[1]), [2]string{f[2], f[3]}
			if p.protocol = f[4]; p.protocol == noProtocol {
				p.protocol = ""
			}
		}
		found = append(found, p)
	}
	return found
}

// pairNotes are the notes of pairs.
func pairNotes(notes map[string]string) map[string]string {
	notes = maps.Clone(notes)
	maps.DeleteFunc(notes, func(key, _ string) bool { return !strings.HasPrefix(key, twoNote) })
	return notes
}

// share lets two nodes write that both hold the volume. The note is there before.
func (b *backend) share(ctx context.Context, v volume, at deployment, x, y string) error {
	l, err := levelOf(at, x, y)
	if err != nil {
		return err
	}
	if err := b.mayShare(ctx, v, at, x, y); err != nil {
		return err
	}
	on := map[string]string{allowTwo: yes, protocol: protocolC}
	was, before := v.def.Props[protocol], readPairs(v.notes)
	if len(before) > 0 {
		was = before[0].protocol
	} else if v.def.Props[allowTwo] == yes && (was == protocolC || was == "") {
		return nil // an administrator's doing, with protocol C or the default, which is C
	}
	p := newPair(l, x, y, was)
	set := p.note()
	maps.Copy(v.notes, set) // to undo it, whoever removes the note meanwhile
	if l == onConnection {
		if err := b.board(v).Write(ctx, set); err != nil {
			return err
		}
		return b.linstor.ModifyConnection(ctx, v.resource(), p.nodes[0], p.nodes[1], on)
	}
	for k, value := range set {
		on[noteSpace+k] = value
	}
	return gone(b.linstor.ModifyDefinition(ctx, v.resource(), on))
}

// mayShare fails where share would, and changes nothing.
func (b *backend) mayShare(ctx context.Context, v volume, at deployment, x, y string) error {
	l, err := levelOf(at, x, y)
	if err != nil {
		return err
	}
	if len(readPairs(v.notes)) > 0 || l != onConnection {
		return nil
	}
	return b.untouched(ctx, v, x, y)
}

// untouched fails if somebody else has set what volbridge would set, and remove
// again, on the connection of two nodes. A leftover whose note is lost looks the
// same; both are for a person to decide.
func (b *backend) untouched(ctx context.Context, v volume, x, y string) error {
	props, err := b.linstor.ConnectionProps(ctx, v.resource(), x, y)
	if err != nil && !errors.Is(err, rest.ErrNotFound) {
		return err
	}
	for _, key := range []string{allowTwo, protocol} {
		if props[key] != "" {
			return fmt.Errorf("the connection of nodes %s and %s has %s=%s, which is not of this migration: "+
				"remove it with `linstor resource-connection set-property %s %s %s %s`, or set it on the resource definition",
				x, y, key, settings.Clip(props[key]), x, y, v.resource(), key)
		}
	}
	return nil
}

// unshare ends it for all pairs that the notes tell of: at both levels, whatever
// they say, because a note may be older than a second attempt at another level.
// It is idempotent.
func (b *backend) unshare(ctx context.Context, v volume, notes map[string]string) error {
	pairs := readPairs(notes)
	if len(pairs) == 0 {
		return nil
	}
	remove, set := []string{allowTwo, protocol}, map[string]string{}
	var wrong []error
	for _, p := range pairs {
		remove = append(remove, noteSpace+p.key)
		if p.protocol != "" {
			set[protocol] = p.protocol
		}
		if p.nodes[0] == "" {
			continue
		}
		err := b.linstor.ModifyConnection(ctx, v.resource(), p.nodes[0], p.nodes[1], nil, allowTwo, protocol)
		if err != nil && !errors.Is(err, rest.ErrNotFound) {
			wrong = append(wrong, err)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("two nodes may still write at the same time: %w", errors.Join(wrong...))
	}
	if set[protocol] != "" {
		remove = slices.DeleteFunc(remove, func(k string) bool { return k == protocol })
	}
	err := gone(b.linstor.ModifyDefinition(ctx, v.resource(), set, remove...))
	if errors.Is(err, claims.ErrGone) {
		return nil
	}
	return err
}

// unshareLast is unshare where the claims among the notes are of one node at most.
// The notes are those of now, with the pairs of this operation: another host may
// have removed the note of what was switched on then.
func (b *backend) unshareLast(ctx context.Context, v volume, notes map[string]string) error {
	if len(nodesOf(claims.Read(notes))) > 1 {
		return nil
	}
	return b.unshare(ctx, v, notes)
}

// nodesOf are the nodes of the claims, each once, without regard to case.
func nodesOf(list []claims.Claim, but ...string) (nodes []string) {
	for _, c := range list {
		is := func(n string) bool { return strings.EqualFold(n, c.Place.Name) }
		if c.Place.Name != "" && !slices.ContainsFunc(nodes, is) && !slices.ContainsFunc(but, is) {
			nodes = append(nodes, c.Place.Name)
		}
	}
	return nodes
}
