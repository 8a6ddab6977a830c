package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

func poolRemoveCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "remove", Usage: "take a pool out of the configuration", ArgsUsage: "NAME",
		Description: `Removes the table [pool.NAME] from the configuration, and the file with its secret
if 'pool add' wrote it. The storage, its volumes and the domains that name them
stay as they are. Undefine the domains on this host that are shut off, or move
them first: a domain whose metadata or path names the pool is refused then, and
one that names neither is not protected any more: where its device is there
(a host group, DRBD), libvirt starts it without asking the pool.

Refused while this host has records of the pool's volumes: guests that run on
them, arrivals, migrations and copies that did not end. 'volbridge recover' closes
those that are dead. Refused too while the pool says that it holds a volume for
this host, for nothing would return that any more; of a pool that does not answer
this is not known, and it is removed with a warning.

Example:
  volbridge pool remove flash --dry-run`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only say what would be removed"}},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "NAME")
			if err != nil {
				return err
			}
			return a.poolRemove(c.Context, args[0], c.Bool("dry-run"))
		},
	}
}

type removedJSON struct {
	Pool       string `json:"pool"`
	Config     string `json:"config"`
	SecretFile string `json:"secret_file,omitempty"` // that was removed too
	DryRun     bool   `json:"dry_run"`
}

func (a *app) poolRemove(ctx context.Context, name string, dryRun bool) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	p, there := s.config.Pool(name)
	if !there {
		return fmt.Errorf("pool %s is not in %s: %w", name, s.config.Path, bridge.ErrNoPool)
	}
	if err := s.unused(ctx, name); err != nil {
		return err
	}
	if err := s.nothingHeld(ctx, name); err != nil {
		return err
	}
	secret, err := s.ownSecret(p)
	if err != nil {
		return err
	}
	if !dryRun {
		if err := s.takeOut(ctx, name); err != nil {
			return err
		}
		a.at("remove secret")
		if err := removeSecret(secret); err != nil {
			return fmt.Errorf("pool %s was removed, but its secret was not: %w: remove it by hand", name, err)
		}
	}
	return a.printRemoved(removedJSON{name, s.config.Path, secret, dryRun})
}

// takeOut changes the file. A guest that was started while it was changed would
// be left without its pool, so the records are looked at again, and then the
// file becomes what it was.
func (s *session) takeOut(ctx context.Context, name string) error {
	e := s.app.editor()
	var before, after []byte
	err := e.Edit(ctx, func(old []byte) (text []byte, err error) {
		before = old
		after, err = config.RemovePool(old, name)
		return after, err
	})
	if err != nil {
		return err
	}
	used := s.unused(ctx, name)
	if used == nil {
		return nil
	}
	back := e.Edit(context.WithoutCancel(ctx), func(now []byte) ([]byte, error) {
		if !bytes.Equal(now, after) {
			return nil, fmt.Errorf("somebody else changed the file meanwhile: write [pool.%s] into it again", name)
		}
		return before, nil
	})
	return errors.Join(used, back)
}

// unused refuses a pool of whose volumes this host has records.
func (s *session) unused(ctx context.Context, name string) (err error) {
	if _, err := os.Stat(s.config.StatePath()); errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was ever attached here
	}
	store, err := s.store(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	uses, err := usesOf(ctx, store, name)
	if err != nil {
		return fmt.Errorf("whether pool %s is in use is not known: %w", name, err)
	}
	if len(uses) == 0 {
		return nil
	}
	return withHint(withCode(exitRefused, fmt.Errorf("pool %s was not removed, because this host uses it: %s", name, strings.Join(uses, "; "))),
		"stop or migrate those guests; what is dead 'volbridge recover' takes back")
}

// heldTime bounds the question what a pool holds for this host.
const heldTime = 30 * time.Second

// nothingHeld refuses a pool that holds a volume for this host. The records need
// not say so: they may have been lost, and recovery finds what is left only in
// the pools that are configured. A pool that does not answer may be gone for good.
func (s *session) nothingHeld(ctx context.Context, name string) error {
	held, unknown := s.heldHere(ctx, name)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(held) > 0 {
		var what, revoke []string
		for _, h := range held {
			ref := volumeRef{name, h.Volume}
			what = append(what, fmt.Sprintf("volume %s for %s", ref, h.Holder.Owner.Text()))
			revoke = append(revoke, fmt.Sprintf("'volbridge volume revoke %s --host %s'", ref, h.Holder.Host.ID))
		}
		return withHint(withCode(exitRefused, fmt.Errorf("pool %s was not removed, because it holds for this host: %s", name, strings.Join(what, "; "))),
			"'volbridge recover' returns what no guest uses; what it leaves because it is of another boot, and of no clone of this host, is returned with %s; where a guest has it through another name of the same storage, stop the guest first",
			strings.Join(slices.Compact(revoke), " and "))
	}
	if unknown != nil {
		s.app.warn("whether this host holds a volume of pool %s is not known (%v); what it holds stays so, until 'volbridge volume revoke' on a host that has the pool", name, unknown)
	}
	return nil
}

// heldHere lists what a pool holds for this host, of whatever boot.
func (s *session) heldHere(ctx context.Context, name string) (held []pool.Held, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, heldTime, fmt.Errorf("no answer within %s", heldTime))
	defer cancel()
	self, err := s.host()
	if err != nil {
		return nil, err
	}
	b, err := s.pools.Open(name)
	if err != nil {
		return nil, err
	}
	if l, ok := b.(pool.HeldLister); ok {
		return l.HeldBy(ctx, self.ID)
	}
	volumes, err := b.List(ctx)
	for _, v := range volumes {
		holders, of := b.Holders(ctx, v.Name)
		err = errors.Join(err, of)
		for _, h := range holders {
			if h.Host.ID == self.ID {
				held = append(held, pool.Held{Volume: v.Name, Holder: h})
			}
		}
	}
	return held, err
}

// usesOf says for people which records of this host speak of a pool.
func usesOf(ctx context.Context, store *state.Store, name string) (uses []string, err error) {
	attachments, err := store.All(ctx)
	if err != nil {
		return nil, err
	}
	copies, err := store.Copies(ctx)
	if err != nil {
		return nil, err
	}
	migrations, err := store.Migrations(ctx, true)
	if err != nil {
		return nil, err
	}
	for _, c := range copies {
		if c.Pool == name {
			uses = append(uses, fmt.Sprintf("image %s is copied into volume %s/%s", c.Image, c.Pool, c.Volume))
		}
	}
	for _, at := range attachments {
		if at.Pool == name {
			uses = append(uses, fmt.Sprintf("domain %s has volume %s/%s (%s)", at.DomainName, at.Pool, at.Volume, at.Phase))
		}
	}
	for _, m := range migrations {
		if speaksOf(m.Detail, name) {
			uses = append(uses, fmt.Sprintf("migration %d of domain %s has not ended (%s)", m.ID, m.DomainName, m.State))
		}
	}
	return uses, nil
}

// speaksOf says whether the plan of a migration names a pool. What cannot be read
// may name it.
func speaksOf(detail []byte, pool string) bool {
	var plan any
	if json.Unmarshal(detail, &plan) != nil {
		return true
	}
	var look func(v any) bool
	look = func(v any) bool {
		switch v := v.(type) {
		case []any:
			return slices.ContainsFunc(v, look)
		case map[string]any:
			for key, value := range v {
				text, isText := value.(string)
				if isText && text == pool && strings.Contains(strings.ToLower(key), "pool") || look(value) {
					return true
				}
			}
		}
		return false
	}
	return look(plan)
}

// ownSecret is the file of the pool's secret if `pool add` wrote it: it lies
// where that does, under the pool's name, and no other pool names it.
func (s *session) ownSecret(p config.Pool) (string, error) {
	folder, err := secretsFolder(s.config.Path)
	if err != nil {
		return "", err
	}
	own := filepath.Join(folder, p.Name)
	if !slices.Contains(p.SecretFiles(), own) {
		return "", nil
	}
	for _, other := range s.config.Pools {
		if other.Name != p.Name && slices.Contains(other.SecretFiles(), own) {
			return "", nil
		}
	}
	return own, nil
}

func removeSecret(file string) error {
	if file == "" {
		return nil
	}
	err := os.Remove(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (a *app) printRemoved(r removedJSON) error {
	did := "removed"
	switch {
	case a.json():
		return a.printJSON(r)
	case r.DryRun:
		did = "would remove"
	}
	a.say("%s pool %s from %s", did, r.Pool, r.Config)
	if r.SecretFile != "" {
		a.say("%s its secret %s", did, r.SecretFile)
	}
	return nil
}
