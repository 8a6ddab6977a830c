package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/pool"
)

func volumeCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "volume",
		Usage: "create, import, list, resize and delete volumes",
		Description: `A volume is named POOL/VOLUME; the pools are in the configuration
(see 'volbridge pool list').

Example:
  volbridge volume create fast/web --size 10GiB`,
		Subcommands: []*cli.Command{
			volumeCreateCommand(a), volumeImportCommand(a), volumeListCommand(a), volumeInfoCommand(a),
			volumePathCommand(a), volumeResizeCommand(a), volumeDeleteCommand(a),
			volumeRevokeCommand(a),
		},
	}
}

// volumeJSON is a volume as programs see it.
type volumeJSON struct {
	Pool       string       `json:"pool"`
	Name       string       `json:"name"`
	SizeBytes  int64        `json:"size_bytes"`
	Identity   string       `json:"identity"`
	Path       string       `json:"path,omitempty"`
	CreationID string       `json:"creation_id,omitempty"`
	Created    *time.Time   `json:"created,omitempty"`
	Holders    []holderJSON `json:"holders"`
}

type holderJSON struct {
	Host       string    `json:"host"`
	HostID     string    `json:"host_id"`
	Domain     string    `json:"domain"`
	DomainUUID string    `json:"domain_uuid"`
	Mode       string    `json:"mode"`
	Since      time.Time `json:"since"`
	BootID     string    `json:"boot_id"`
}

func toVolumeJSON(v pool.Volume, holders []pool.Holder) volumeJSON {
	j := volumeJSON{
		Pool: v.Pool, Name: v.Name, SizeBytes: v.SizeBytes, Identity: string(v.Identity),
		CreationID: v.CreationID, Holders: toHoldersJSON(holders),
	}
	if !v.Created.IsZero() {
		j.Created = &v.Created
	}
	return j
}

func toHoldersJSON(holders []pool.Holder) []holderJSON {
	list := []holderJSON{}
	for _, h := range holders {
		list = append(list, holderJSON{
			Host: h.Host.Name, HostID: h.Host.ID, Domain: h.Owner.Name, DomainUUID: h.Owner.UUID,
			Mode: string(h.Mode), Since: h.Since, BootID: h.BootID,
		})
	}
	return list
}

// heldBy is the holders in a cell of a table.
func heldBy(holders []pool.Holder) string {
	var who []string
	for _, h := range holders {
		who = append(who, h.Host.Name+" ("+strings.TrimPrefix(h.Owner.Text(), "domain ")+")")
	}
	return strings.Join(who, ", ")
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func volumeArgument(c *cli.Context) (volumeRef, error) {
	args, err := arguments(c, "POOL/VOLUME")
	if err != nil {
		return volumeRef{}, err
	}
	ref, err := parseVolumeRef(args[0])
	return ref, helpHintIf(c, err)
}

func helpHintIf(c *cli.Context, err error) error {
	if err == nil {
		return nil
	}
	return helpHint(c, err)
}

// lookupError says what to do about a missing volume. Which volume it is, a
// backend's errors say themselves.
func lookupError(ref volumeRef, err error) error {
	if errors.Is(err, pool.ErrNotFound) {
		return withHint(err, "'volbridge volume list %s' shows those that there are", ref.Pool)
	}
	return err
}

// connection is how this host reaches a volume.
func (s *session) connection(ctx context.Context, b pool.Backend, ref volumeRef) (pool.Connection, error) {
	host, err := s.host()
	if err != nil {
		return pool.Connection{}, err
	}
	conn, err := b.Connection(ctx, ref.Volume, host)
	return conn, lookupError(ref, err)
}
