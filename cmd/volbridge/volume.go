package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

func volumeCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "volume",
		Usage: "create, list, resize and delete volumes",
		Description: `A volume is named POOL/VOLUME; the pools are in the configuration
(see 'volbridge pool list').

Example:
  volbridge volume create fast/web --size 10GiB`,
		Subcommands: []*cli.Command{
			volumeCreateCommand(a), volumeListCommand(a), volumeInfoCommand(a),
			volumePathCommand(a), volumeResizeCommand(a), volumeDeleteCommand(a),
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
}

func toVolumeJSON(v pool.Volume, holders []pool.Holder) volumeJSON {
	j := volumeJSON{
		Pool: v.Pool, Name: v.Name, SizeBytes: v.SizeBytes, Identity: string(v.Identity),
		CreationID: v.CreationID, Holders: []holderJSON{},
	}
	if !v.Created.IsZero() {
		j.Created = &v.Created
	}
	for _, h := range holders {
		j.Holders = append(j.Holders, holderJSON{
			Host: h.Host.Name, HostID: h.Host.ID, Domain: h.Owner.Name, DomainUUID: h.Owner.UUID,
			Mode: string(h.Mode), Since: h.Since,
		})
	}
	return j
}

// heldBy is the holders in a cell of a table.
func heldBy(holders []pool.Holder) string {
	var who []string
	for _, h := range holders {
		who = append(who, h.Host.Name+" ("+h.Owner.Name+")")
	}
	return strings.Join(who, ", ")
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func volumeListCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "list", Aliases: []string{"ls"}, Usage: "list volumes and the hosts that hold them", ArgsUsage: "[POOL]",
		Description: `Lists the volumes of one pool, or of all.

Example:
  volbridge volume list fast`,
		Action: func(c *cli.Context) error {
			name, err := optional(c)
			if err != nil {
				return err
			}
			return a.volumeList(c.Context, name)
		},
	}
}

// volumeList goes on past a pool that does not answer.
func (a *app) volumeList(ctx context.Context, name string) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	names := s.pools.Names()
	if name != "" {
		names = []string{name}
	}
	list := []volumeJSON{}
	var rows [][]string
	var errs []error
	for _, name := range names {
		volumes, err := s.listPool(ctx, name)
		if err != nil {
			errs = append(errs, err)
		}
		for _, v := range volumes {
			list = append(list, toVolumeJSON(v.Volume, v.holders))
			rows = append(rows, []string{v.Pool + "/" + v.Name, sizeText(v.SizeBytes), timeText(v.Created), heldBy(v.holders)})
		}
	}
	if a.json() {
		err = a.printJSON(list)
	} else {
		err = a.printTable([]string{"VOLUME", "SIZE", "CREATED", "HELD BY"}, rows)
	}
	return errors.Join(append(errs, err)...)
}

type heldVolume struct {
	pool.Volume
	holders []pool.Holder
}

func (s *session) listPool(ctx context.Context, name string) ([]heldVolume, error) {
	b, err := s.pools.Open(name)
	if err != nil {
		return nil, err
	}
	volumes, err := b.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list pool %s: %w", name, err)
	}
	var list []heldVolume
	var errs []error
	for _, v := range volumes {
		holders, err := b.Holders(ctx, v.Name)
		if errors.Is(err, pool.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("list the holders of volume %s/%s: %w", name, v.Name, err))
		}
		list = append(list, heldVolume{v, holders})
	}
	return list, errors.Join(errs...)
}

func volumeInfoCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "info", Usage: "show one volume, who holds it, and where it is attached here", ArgsUsage: "POOL/VOLUME",
		Description: `Example:
  volbridge volume info fast/web`,
		Action: func(c *cli.Context) error {
			ref, err := volumeArgument(c)
			if err != nil {
				return err
			}
			return a.volumeInfo(c.Context, ref)
		},
	}
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

type volumeInfoJSON struct {
	volumeJSON
	Attached []attachmentJSON `json:"attached_here"`
}

type attachmentJSON struct {
	Domain     string    `json:"domain"`
	DomainUUID string    `json:"domain_uuid"`
	Target     string    `json:"target"`
	Phase      string    `json:"phase"`
	Path       string    `json:"path"`
	Updated    time.Time `json:"updated"`
}

func (a *app) volumeInfo(ctx context.Context, ref volumeRef) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	b, err := s.backend(ref)
	if err != nil {
		return err
	}
	v, err := b.Lookup(ctx, ref.Volume)
	if err != nil {
		return lookupError(ref, err)
	}
	holders, err := b.Holders(ctx, ref.Volume)
	if err != nil {
		return fmt.Errorf("list the holders of volume %s: %w", ref, err)
	}
	conn, err := s.connection(ctx, b, ref)
	if err != nil {
		return err
	}
	// Who may not read the records is told so, and gets the rest.
	here, err := s.attachments(ctx, ref.Pool, ref.Volume)
	if err != nil {
		a.warn("what is attached on this host is not known: %v", err)
	}
	if a.json() {
		return a.printJSON(toVolumeInfoJSON(v, holders, conn.Path, here))
	}
	return a.printFields(volumeFields(v, holders, conn.Path, here))
}

func toVolumeInfoJSON(v pool.Volume, holders []pool.Holder, path string, here []state.Attachment) volumeInfoJSON {
	j := volumeInfoJSON{toVolumeJSON(v, holders), []attachmentJSON{}}
	j.Path = path
	for _, at := range here {
		j.Attached = append(j.Attached, attachmentJSON{
			Domain: at.DomainName, DomainUUID: at.DomainUUID, Target: at.Target,
			Phase: string(at.Phase), Path: at.Path, Updated: at.Updated,
		})
	}
	return j
}

func volumeFields(v pool.Volume, holders []pool.Holder, path string, here []state.Attachment) [][2]string {
	fields := [][2]string{
		{"Volume", v.Pool + "/" + v.Name},
		{"Size", fmt.Sprintf("%s (%d bytes)", dash(sizeText(v.SizeBytes)), v.SizeBytes)},
		{"Path", path},
		{"Identity", string(v.Identity)},
		{"Created", timeText(v.Created)},
	}
	for _, h := range holders {
		fields = append(fields, [2]string{"Held by", fmt.Sprintf("host %s for domain %s (%s, since %s)",
			h.Host.Name, h.Owner.Name, h.Mode, timeText(h.Since))})
	}
	for _, at := range here {
		fields = append(fields, [2]string{"Attached here", fmt.Sprintf("disk %s of domain %s (%s)", at.Target, at.DomainName, at.Phase)})
	}
	return fields
}

// lookupError names the volume and says what to do about a missing one.
func lookupError(ref volumeRef, err error) error {
	err = fmt.Errorf("look up volume %s: %w", ref, err)
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
	if err != nil {
		return conn, fmt.Errorf("find volume %s on host %s: %w", ref, host.Name, err)
	}
	return conn, nil
}

func volumePathCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "path", Usage: "print the path of a volume's device, for domain XML", ArgsUsage: "POOL/VOLUME",
		Description: `Prints what to write as <source dev='…'>. The device exists while a domain that
uses it runs on this host.

Example:
  virt-install --disk "path=$(volbridge volume path fast/web),format=raw" …`,
		Action: func(c *cli.Context) error {
			ref, err := volumeArgument(c)
			if err != nil {
				return err
			}
			return a.volumePath(c.Context, ref)
		},
	}
}

func (a *app) volumePath(ctx context.Context, ref volumeRef) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	b, err := s.backend(ref)
	if err != nil {
		return err
	}
	conn, err := s.connection(ctx, b, ref)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(map[string]string{"pool": ref.Pool, "name": ref.Volume, "path": conn.Path})
	}
	_, err = fmt.Fprintln(a.out, conn.Path)
	return err
}
