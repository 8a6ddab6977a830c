package linstor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/LINBIT/golinstor/client"

	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
	"github.com/volbridge/volbridge/pool/linstor/rest"
	"github.com/volbridge/volbridge/pool/settings"
)

// maxKiB is the size of the largest DRBD device, 1 PiB.
const maxKiB = 1 << 40

// RoundSize implements pool.Rounder: LINSTOR counts in KiB, and volbridge asks
// for exactly that. A size that no volume can have is math.MaxInt64.
func (b *backend) RoundSize(sizeBytes int64) int64 {
	switch {
	case sizeBytes <= 0:
		return 1024
	case sizeBytes > maxKiB*1024:
		return math.MaxInt64
	}
	return (sizeBytes + 1023) / 1024 * 1024
}

func (b *backend) kib(sizeBytes int64) (int64, error) {
	if sizeBytes <= 0 {
		return 0, fmt.Errorf("a volume of %d bytes is not possible; ask for 1 or more", sizeBytes)
	}
	if size := b.RoundSize(sizeBytes); size != math.MaxInt64 {
		return size / 1024, nil
	}
	return 0, fmt.Errorf("%w: %d bytes are more than a DRBD device can have (1 PiB)", pool.ErrNoSpace, sizeBytes)
}

// creation is a volume on its way.
type creation struct {
	pool.CreateRequest
	sizeKiB int64
	origin  string // what the note "created" says; it is this request's alone
	mark    string // key of the note that the volume is not finished
}

// create makes the definition with everything that tells whose it is, in one
// step, and with a mark that it is not finished, which goes last: until then it
// is no volume. The definition asks for an exact size where the controller knows
// that, which is possible only before it is deployed.
func (b *backend) create(ctx context.Context, r pool.CreateRequest) (pool.Volume, error) {
	size, err := b.kib(r.SizeBytes)
	if err != nil {
		return pool.Volume{}, err
	}
	if n := utf8.RuneCountInString(r.CreationID); n > maxNote {
		return pool.Volume{}, fmt.Errorf("a creation id of %d characters does not fit into a property (%d)", n, maxNote)
	}
	for range tries {
		nonce := rand.Text()
		c := creation{r, size, fmt.Sprintf("%d %s", b.now().Unix(), nonce), unfinishedNote + nonce}
		v, err := b.createOnce(ctx, c)
		if !errors.Is(err, claims.ErrGone) {
			return v, err
		}
	}
	return pool.Volume{}, fmt.Errorf("others create and delete it at the same time: %w", claims.ErrGone)
}

func (b *backend) createOnce(ctx context.Context, c creation) (pool.Volume, error) {
	d, err := b.linstor.Definition(ctx, b.resource(c.Name))
	switch {
	case err == nil:
		if err := b.resumable(d, &c); err != nil {
			return pool.Volume{}, err
		}
	case !errors.Is(err, rest.ErrNoDefinition):
		return pool.Volume{}, err
	default:
		if d, err = b.define(ctx, c); err != nil {
			return pool.Volume{}, err
		}
	}
	if c.mark != "" {
		if err := b.build(ctx, d, c); err != nil {
			return pool.Volume{}, err
		}
	}
	v, err := b.find(ctx, c.Name)
	switch {
	case errors.Is(err, pool.ErrNotFound):
		return pool.Volume{}, fmt.Errorf("%w: %w", claims.ErrGone, err)
	case err == nil && v.notes[createdNote] != c.origin:
		return pool.Volume{}, b.exists(v.def)
	}
	return b.public(v), err
}

// resumable settles a repeated request, or refuses a name that is taken. What
// the first attempt wrote counts.
func (b *backend) resumable(d rest.Definition, c *creation) error {
	notes := notesOf(d)
	if c.CreationID == "" || notes[creationNote] != c.CreationID || d.Name != b.resource(c.Name) || slices.Contains(d.Flags, deleting) ||
		!strings.EqualFold(d.ResourceGroupName, b.settings.ResourceGroup) {
		return b.exists(d)
	}
	v := volume{notes: notes}
	c.origin, c.mark = notes[createdNote], v.unfinished()
	return nil
}

func (b *backend) exists(d rest.Definition) error {
	text := fmt.Sprintf("resource definition %s", settings.Clip(d.Name))
	_, err := b.take(d)
	var half *unfinishedError
	switch {
	case slices.Contains(d.Flags, deleting):
		text += " is being deleted, and stays until all its nodes are online"
	case errors.As(err, &half):
		text = half.text
	}
	return fmt.Errorf("%w: %s", pool.ErrExists, text)
}

func (b *backend) define(ctx context.Context, c creation) (rest.Definition, error) {
	props := map[string]string{noteSpace + createdNote: c.origin, noteSpace + c.mark: c.origin, exactSize: "true"}
	if c.CreationID != "" {
		props[noteSpace+creationNote] = c.CreationID
	}
	err := b.linstor.CreateDefinition(ctx, b.resource(c.Name), b.settings.ResourceGroup, props)
	if errors.Is(err, rest.ErrBadProperty) {
		// Controllers before 1.27 know no exact size: the volume becomes as large
		// as its storage makes it, and a disk that is smaller gets a slice.
		delete(props, exactSize)
		err = b.linstor.CreateDefinition(ctx, b.resource(c.Name), b.settings.ResourceGroup, props)
	}
	switch {
	case errors.Is(err, rest.ErrExists): // somebody else's, just now
		return rest.Definition{}, fmt.Errorf("%w: %w", claims.ErrGone, err)
	case errors.Is(err, rest.ErrNoGroup):
		return rest.Definition{}, b.noGroup(err)
	case err != nil:
		return rest.Definition{}, err
	}
	d, err := b.linstor.Definition(ctx, b.resource(c.Name))
	return d, gone(err)
}

// build gives a definition its volume and its replicas, and takes the mark away.
// What was refused for good is taken back.
func (b *backend) build(ctx context.Context, d rest.Definition, c creation) error {
	v := volume{name: c.Name, def: d, notes: notesOf(d)}
	if v.notes[createdNote] != c.origin {
		return b.exists(d)
	}
	err := b.fill(ctx, v, c)
	if err == nil {
		return b.board(v).Drop(ctx, c.mark)
	}
	if errors.Is(err, pool.ErrUnreachable) || errors.Is(err, claims.ErrGone) || ctx.Err() != nil {
		return err
	}
	if left := b.discard(ctx, v); left != nil {
		// No pool.ErrNoSpace any more: that would mean that nothing is there.
		return fmt.Errorf("%v; and resource definition %s is left there: delete it: %w", err, v.resource(), left)
	}
	return err
}

func (b *backend) fill(ctx context.Context, v volume, c creation) error {
	if len(v.def.VolumeDefinitions) == 0 {
		if err := b.linstor.CreateVolume(ctx, v.resource(), c.sizeKiB); err != nil {
			if errors.Is(err, rest.ErrExists) {
				return fmt.Errorf("%w: %w", claims.ErrGone, err)
			}
			return gone(err)
		}
	} else if has := v.def.VolumeDefinitions[0].SizeKib; int64(has) < c.sizeKiB {
		return fmt.Errorf("the volume of an earlier attempt has %s", units.FormatSize(int64(has)*1024))
	}
	at, err := b.deployed(ctx, v)
	if err != nil {
		return err
	}
	if !at.hasReplica() {
		if err := b.linstor.Autoplace(ctx, v.resource()); err != nil {
			return gone(err)
		}
		if at, err = b.deployed(ctx, v); err != nil {
			return err
		}
	}
	return at.blank()
}

func (at deployment) hasReplica() bool {
	return slices.ContainsFunc(at.nodes, func(n nodeState) bool { return !n.diskless })
}

// blankKinds are the storage that a new volume reads as zeroes from.
var blankKinds = []client.ProviderKind{client.LVM_THIN, client.ZFS, client.ZFS_THIN}

// blank refuses a new volume that shows what its storage held before: whoever
// copies an image leaves out what is zero, and a guest must not read the data of
// another.
func (at deployment) blank() error {
	if !at.hasReplica() {
		return errors.New("the controller has placed no replica: see place_count of the resource group")
	}
	for _, n := range at.nodes {
		if !n.diskless && !slices.Contains(blankKinds, n.kind) {
			return fmt.Errorf("the replica on node %s is on storage of kind %s, where a new volume shows what was there before: "+
				"let the resource group place its volumes on storage pools of kind LVM_THIN, ZFS or ZFS_THIN", n.name, n.kind)
		}
	}
	return nil
}
