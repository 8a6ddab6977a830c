package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

const volumeRevokeHelp = `Ends a host's access to a volume in the pool, without asking that host: fencing
by hand. Nothing is changed on the host itself.

It is right when that host certainly runs no guest on the volume, can start none,
and cannot return the volume itself: it is off, or cut from the storage; or it was
installed anew or lost its records. Look at the machine, not only at the network.
A host that is alive returns what it holds with 'volbridge recover'.

That no guest runs there now is not enough: while a host does not reach the
array's management it may start from its own record what it ran last, if the
device is still there (a host group). A boot ends that; a host that was cut from
the storage stays so until it is booted.

When it is wrong, another host can start the domain while the guest runs there, or
is started there again: two guests write one volume, and its data is lost.

NAME is the name under which 'volbridge volume info' shows the host, or its id.
Asks on a terminal; elsewhere --yes must be given. What this host itself has
attached is left to 'volbridge recover'.

Example:
  volbridge volume revoke fast/web --host kvm02 --dry-run
  volbridge volume revoke fast/web --host kvm02 --yes`

func volumeRevokeCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "revoke", Usage: "end a dead host's access to a volume", ArgsUsage: "POOL/VOLUME", Description: volumeRevokeHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "host", Usage: "the host, by its `NAME` or id"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only say what would be revoked"},
		},
		Action: func(c *cli.Context) error {
			ref, err := volumeArgument(c)
			if err != nil {
				return err
			}
			if c.String("host") == "" {
				return helpHint(c, usagef("--host is missing"))
			}
			return a.volumeRevoke(c.Context, ref, revokeOptions{c.String("host"), c.Bool("yes"), c.Bool("dry-run")})
		},
	}
}

type revokeOptions struct {
	Host        string
	Yes, DryRun bool
}

type revokeJSON struct {
	Pool    string       `json:"pool"`
	Name    string       `json:"name"`
	Host    string       `json:"host"`
	HostID  string       `json:"host_id"`
	DryRun  bool         `json:"dry_run"`
	Revoked []holderJSON `json:"revoked"`
}

func (a *app) volumeRevoke(ctx context.Context, ref volumeRef, o revokeOptions) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	b, err := s.backend(ref)
	if err != nil {
		return err
	}
	all, err := b.Holders(ctx, ref.Volume)
	if err != nil {
		return lookupError(ref, err)
	}
	grants, err := chosen(ref, all, o.Host)
	if err != nil {
		return err
	}
	if err := s.notInUseHere(ctx, ref, grants); err != nil {
		return err
	}
	if !o.DryRun {
		if err := a.confirmRevoke(ref, grants, o.Yes); err != nil {
			return err
		}
		// Of the boots that were seen: not what was granted since.
		r := pool.RevokeRequest{Volume: ref.Volume, Host: grants[0].Host, BootIDs: bootIDs(grants)}
		if err := b.Revoke(ctx, r); err != nil {
			return revokeError(ref, err)
		}
	}
	return a.printRevoked(ref, grants, o.DryRun)
}

// chosen returns what the named host holds, one entry for each domain.
func chosen(ref volumeRef, all []pool.Holder, name string) ([]pool.Holder, error) {
	var grants []pool.Holder
	ids := map[string]bool{}
	for _, h := range all {
		if h.Host.ID == name || h.Host.Name == name {
			grants, ids[h.Host.ID] = append(grants, h), true
		}
	}
	switch {
	case len(all) == 0:
		return nil, withCode(exitNotFound, fmt.Errorf("no host holds volume %s", ref))
	case len(ids) == 0:
		return nil, withCode(exitNotFound, fmt.Errorf("host %q does not hold volume %s; it is held by %s", name, ref, holdersText(all)))
	case len(ids) > 1:
		return nil, withHint(withCode(exitRefused, fmt.Errorf("several hosts are named %s: volume %s is held by %s", name, ref, holdersText(all))),
			"give the id of the host that is meant: --host ID")
	}
	return grants, nil
}

func holdersText(holders []pool.Holder) string {
	var who []string
	for _, h := range holders {
		who = append(who, fmt.Sprintf("host %s (id %s) for %s", h.Host.Name, h.Host.ID, h.Owner.Text()))
	}
	return strings.Join(who, " and ")
}

// notInUseHere refuses to revoke what this host itself may be using: by its
// records, or because it was granted since this host was booted.
func (s *session) notInUseHere(ctx context.Context, ref volumeRef, grants []pool.Holder) error {
	self, err := s.host()
	if err != nil {
		return err
	}
	if grants[0].Host.ID != self.ID {
		return nil
	}
	here, err := s.attachments(ctx, ref.Pool, ref.Volume)
	if err != nil {
		return err
	}
	boot, err := state.BootID("/proc")
	if err != nil {
		return err
	}
	if len(here) == 0 && grants[0].BootID != boot {
		return nil
	}
	return withHint(withCode(exitRefused, fmt.Errorf("volume %s is not revoked: host %s is this host, which has it attached for %s",
		ref, self.Name, grants[0].Owner.Text())), "run 'volbridge recover': it asks libvirt, and returns what no guest uses")
}

func bootIDs(grants []pool.Holder) (ids []string) {
	for _, h := range grants {
		ids = append(ids, h.BootID)
	}
	return ids
}

func revokeError(ref volumeRef, err error) error {
	if errors.Is(err, pool.ErrOtherBoot) {
		return withHint(withCode(exitRefused, fmt.Errorf("nothing was revoked, for the host took the volume anew just now: %w", err)),
			"'volbridge volume info %s' shows who holds it", ref)
	}
	return err
}

func (a *app) confirmRevoke(ref volumeRef, grants []pool.Holder, yes bool) error {
	switch {
	case yes:
		return nil
	case !a.inTerminal:
		return withCode(exitRefused, fmt.Errorf("volume %s was not revoked: nobody can be asked here, so --yes must be given", ref))
	}
	fmt.Fprintf(a.err, "Volume %s is held by %s.\n"+
		"If a guest runs there, or is started there again, two guests will write the volume, and its data is lost.\n"+
		"Does that host certainly run no guest on it, and can it start none (off, or cut from the storage)? Type yes: ", ref, holdersText(grants))
	answer, err := bufio.NewReader(a.in).ReadString('\n')
	if strings.TrimSpace(answer) == "yes" {
		return nil
	}
	return withCode(exitRefused, errors.Join(fmt.Errorf("volume %s was not revoked", ref), unlessEOF(err)))
}

func (a *app) printRevoked(ref volumeRef, grants []pool.Holder, dryRun bool) error {
	if a.json() {
		host := grants[0].Host
		return a.printJSON(revokeJSON{ref.Pool, ref.Volume, host.Name, host.ID, dryRun, toHoldersJSON(grants)})
	}
	verb := "revoked"
	if dryRun {
		verb = "would revoke"
	}
	a.say("%s volume %s from %s", verb, ref, holdersText(grants))
	return nil
}
