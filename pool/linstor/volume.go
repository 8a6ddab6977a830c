package linstor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/LINBIT/golinstor/client"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
	"github.com/volbridge/volbridge/pool/linstor/rest"
	"github.com/volbridge/volbridge/pool/settings"
)

// The notes of a volume are properties of its resource definition, all under
// noteSpace:
//
//	creation            the CreationID
//	created             when, in seconds, and a nonce of the request that made it
//	unfinished.NONCE    it is not whole yet; see create.go and unfinished.go
//	two.PAIR            two nodes may both write; see two.go
//	h.…, leaving.…      see package claims
const (
	noteSpace      = "Aux/volbridge/"
	creationNote   = "creation"
	createdNote    = "created"
	unfinishedNote = "unfinished."
	// maxNote is how many characters volbridge writes into one property.
	maxNote = 1024

	// byHand begins what stands for the CreationID of a volume that an administrator
	// made: the definition's UUID follows. It is never written down.
	byHand = "rd:"

	exactSize = "DrbdOptions/ExactSize"
	deleting  = "DELETE"
)

// volume is what is known of a volume of this pool.
type volume struct {
	name  string
	def   rest.Definition
	notes map[string]string
	bytes int64 // as large as the device is
	minor int   // of the device on every node; -1 if it is not known
}

func (v volume) resource() string { return v.def.Name }

func (v volume) claims() []claims.Claim { return claims.Read(v.notes) }

// notesOf takes our notes out of a definition's properties.
func notesOf(d rest.Definition) map[string]string {
	notes := map[string]string{}
	for k, value := range d.Props {
		if key, ours := strings.CutPrefix(k, noteSpace); ours {
			notes[key] = value
		}
	}
	return notes
}

// find asks for a volume by its name.
func (b *backend) find(ctx context.Context, name string) (volume, error) {
	d, err := b.linstor.Definition(ctx, b.resource(name))
	if errors.Is(err, rest.ErrNoDefinition) {
		return volume{}, b.notFound("there is no resource definition %s", b.resource(name))
	}
	if err != nil {
		return volume{}, err
	}
	v, err := b.take(d)
	var half *unfinishedError
	if (err == nil || errors.As(err, &half)) && v.name != name {
		// Two names of one volume would be two volumes to who keeps records.
		err = b.notFound("the volume is called %s; write it so", settings.Clip(v.name))
	}
	if err != nil {
		return volume{}, err
	}
	return b.measured(ctx, v)
}

func (b *backend) notFound(format string, args ...any) error {
	return fmt.Errorf("%w: %s (LINSTOR controller %s)", pool.ErrNotFound, fmt.Sprintf(format, args...), b.linstor.Controller())
}

// take makes a volume of a definition. pool.ErrNotFound says why it is none of
// this pool; any other error that the controller's description is not whole.
// The size is that of the definition; see measured.
func (b *backend) take(d rest.Definition) (volume, error) {
	name, ok := b.volumeName(d.Name)
	v := volume{name: name, def: d, notes: notesOf(d), minor: -1}
	switch {
	case !ok:
		return v, b.notFound("resource definition %s has no name of this pool", settings.Clip(d.Name))
	case !strings.EqualFold(d.ResourceGroupName, b.settings.ResourceGroup):
		return v, b.notFound("resource definition %s is of resource group %q, not of this pool's (%s)",
			d.Name, settings.Clip(d.ResourceGroupName), b.settings.ResourceGroup)
	case slices.Contains(d.Flags, deleting):
		return v, b.notFound("resource definition %s is being deleted", d.Name)
	case v.unfinished() != "":
		return v, b.notFinished(v)
	case d.Uuid == "":
		return v, fmt.Errorf("the controller does not say the UUID of resource definition %s", d.Name)
	}
	i := slices.IndexFunc(d.VolumeDefinitions, func(vd client.VolumeDefinition) bool { return vd.VolumeNumber == nil || *vd.VolumeNumber == 0 })
	if i < 0 {
		return v, b.notFound("resource definition %s has no volume 0", d.Name)
	}
	return v, v.measure(d.VolumeDefinitions[i])
}

func (v *volume) measure(vd client.VolumeDefinition) error {
	if vd.SizeKib == 0 || vd.SizeKib > maxKiB {
		return fmt.Errorf("the controller says that resource definition %s has %d KiB", v.def.Name, vd.SizeKib)
	}
	v.bytes = int64(vd.SizeKib) * 1024
	for _, layer := range vd.LayerData {
		if d, is := layer.Data.(*client.DrbdVolumeDefinition); is && d != nil {
			v.minor = int(d.MinorNumber)
		}
	}
	return nil
}

// exact says whether the device has the size of the definition. Otherwise the
// storage may have rounded it up.
func (v volume) exact() bool { return strings.EqualFold(v.def.Props[exactSize], "true") }

// measured asks the nodes for the size of the device where that of the
// definition is not exact.
func (b *backend) measured(ctx context.Context, v volume) (volume, error) {
	if v.exact() {
		return v, nil
	}
	at, err := b.deployed(ctx, v)
	v.bytes = max(v.bytes, at.bytes)
	return v, err
}

// creation tells the volume from every other of its name, of which DRBD's identity
// of a device says nothing.
func (v volume) creation() string {
	if id := v.notes[creationNote]; id != "" || v.def.Uuid == "" {
		return id
	}
	return byHand + v.def.Uuid
}

// created is the zero time for a volume that volbridge did not make.
func (v volume) created() time.Time {
	text, _, _ := strings.Cut(v.notes[createdNote], " ")
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// public is the volume as callers see it.
func (b *backend) public(v volume) pool.Volume {
	if v.name == "" {
		return pool.Volume{}
	}
	return pool.Volume{Pool: b.name, Name: v.name, Identity: identityOf(v.def), SizeBytes: v.bytes,
		CreationID: v.creation(), Created: v.created()}
}

// connection says how a host reaches the volume. What was made for a grant goes
// with it; a replica, and what an administrator made, stays.
func (b *backend) connection(v volume, at deployment, h pool.Host) pool.Connection {
	node := b.node(h)
	return pool.Connection{
		Protocol: blockdev.DRBD, Pool: b.name, Volume: v.name, Identity: identityOf(v.def), SizeBytes: v.bytes,
		HostID: h.ID, Path: blockdev.DRBDPath(v.resource(), 0),
		DRBD:    &blockdev.DRBDResource{Resource: v.resource(), Minor: v.minor},
		Lasting: b.settings.Diskful || b.place(at, v.claims(), node).Mark != made,
	}
}
