package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/pool"
)

const poolAddHelp = `Writes [pool.NAME] at the end of the configuration, and leaves every other byte of
the file as it is. The pool is asked first whether it works on this host. Forms of
the URL, which belongs in quotes:

  https://USER@ARRAY/api?transport=nvme-tcp&pod=P&hostgroup=G
                            a FlashArray; without USER@ with an API token
  linstor+https://USER@CONTROLLER,CONTROLLER:3371/?resource_group=G
                            a LINSTOR cluster; linstor:// asks it over http
  drbd:?resources=vm-*,db-* DRBD resources that you configured yourself
  dir:///srv/vms            a folder

Every key of the pool's type may stand behind the ?, those of a list with commas
between the values; see 'volbridge pool --help'.

A password or a token is asked for on the terminal, or read with --secret-file. It
is never an argument: others see those. It is kept in a file that root alone can
read, in the folder secrets beside the configuration, unless --credential or
--inline say otherwise.

Example:

  volbridge pool add flash 'https://array/api?transport=nvme-tcp'
  volbridge pool add fast dir:///srv/vms --dry-run`

type poolAddOptions struct {
	Name, URL       string
	SecretFile      string
	Credential      string
	Inline          bool
	NoCheck, DryRun bool
}

func poolAddCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "add", Usage: "write a pool into the configuration", ArgsUsage: "NAME URL",
		Description: poolAddHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "secret-file", Usage: "read the password or token from `FILE`, which root alone can read; - is standard input"},
			&cli.StringFlag{Name: "credential", Usage: "the password or token is the systemd credential `NAME`"},
			&cli.BoolFlag{Name: "inline", Usage: "keep the password or token in the configuration itself, which then must have mode 0600"},
			&cli.BoolFlag{Name: "no-check", Usage: "do not ask the pool whether it works on this host"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only show what would be written"},
		},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "NAME", "URL")
			if err != nil {
				return err
			}
			o := poolAddOptions{
				Name: args[0], URL: args[1], SecretFile: c.String("secret-file"), Credential: c.String("credential"),
				Inline: c.Bool("inline"), NoCheck: c.Bool("no-check"), DryRun: c.Bool("dry-run"),
			}
			if err := o.check(); err != nil {
				return helpHint(c, err)
			}
			return a.poolAdd(c.Context, o)
		},
	}
}

func (o poolAddOptions) check() error {
	if o.Credential != "" && (o.SecretFile != "" || o.Inline) {
		return usagef("--credential names a secret that is kept elsewhere: it goes neither with --secret-file nor with --inline")
	}
	if err := config.PoolName(o.Name); err != nil {
		return usagef("%s", err)
	}
	return nil
}

// addition is a pool on its way into the file.
type addition struct {
	poolAddOptions
	driver   pool.Driver
	settings map[string]string // without the secret
	secret   addedSecret
	editor   config.Editor
}

func (a *app) poolAdd(ctx context.Context, o poolAddOptions) error {
	n := &addition{poolAddOptions: o, editor: a.editor()}
	described, err := n.describe(a.drivers)
	if err != nil {
		return withCode(exitUsage, err)
	}
	old, _, err := n.editor.Current()
	if err != nil {
		return err
	}
	if _, err := config.AppendPool(old, n.Name, nil); err != nil {
		return addHint(n.Name, fmt.Errorf("configuration %s: %w", a.global.Config, err))
	}
	if n.secret, err = a.addedSecret(ctx, n, described); err != nil {
		return err
	}
	if !o.NoCheck {
		if err := a.checkAddition(ctx, n); err != nil {
			return err
		}
	}
	if o.DryRun {
		return a.printAddition(n)
	}
	if err := n.write(ctx); err != nil {
		return addHint(n.Name, err)
	}
	return a.printAddition(n)
}

// describe finds the driver and what the URL says to it.
func (n *addition) describe(drivers []pool.Driver) (pool.Described, error) {
	u, err := pool.ParseURL(n.URL)
	if err != nil {
		return pool.Described{}, err
	}
	var schemes []string
	for _, d := range drivers {
		schemes = append(schemes, d.Schemes...)
		if slices.Contains(d.Schemes, u.Scheme) {
			n.driver = d
		}
	}
	if n.driver.FromURL == nil {
		return pool.Described{}, fmt.Errorf("no type of pool has the scheme of this URL: there are %s", strings.Join(schemes, ", "))
	}
	d, err := n.driver.FromURL(u)
	if err != nil {
		return d, err
	}
	n.settings = maps.Clone(d.Settings)
	return d, n.takeQuery(u.Query)
}

// takeQuery adds the keys of the query, which must be no secrets. It names none
// that it does not know: it may be a part of a secret.
func (n *addition) takeQuery(query map[string]string) error {
	keys, secrets := config.Keys(n.driver), config.SecretKeys(n.driver)
	for key, value := range query {
		plain := strings.TrimSuffix(strings.TrimSuffix(key, "_file"), "_credential")
		switch {
		case slices.Contains(secrets, key):
			return pool.ErrSecretInURL
		case slices.Contains(secrets, plain):
			return fmt.Errorf("the URL has the key %s: say --secret-file FILE or --credential NAME instead", key)
		case !slices.Contains(keys, key):
			return fmt.Errorf("the URL has a key that a pool of type %s has not: it has %s", n.driver.Type, strings.Join(keys, ", "))
		case n.settings[key] != "":
			return fmt.Errorf("the URL says %s twice, in its query and before it", key)
		}
		n.settings[key] = value
	}
	return nil
}

// table is what is written; the secret itself stands in it only where it is to
// be kept there.
func (n *addition) table(secret map[string]string) ([]byte, error) {
	all := maps.Clone(n.settings)
	maps.Copy(all, secret)
	return config.Table(n.Name, n.driver, all)
}

// checkAddition opens the pool as it would be and asks it, before anything is
// written.
func (a *app) checkAddition(ctx context.Context, n *addition) error {
	table, err := n.table(n.secret.asIs())
	if err != nil {
		return err
	}
	old, _, err := n.editor.Current()
	if err != nil {
		return err
	}
	text, err := config.AppendPool(old, n.Name, table)
	if err != nil {
		return addHint(n.Name, err)
	}
	c, err := config.Parse(a.global.Config, text, 0o600, a.drivers)
	if err != nil {
		return fmt.Errorf("nothing was changed: with pool %s %w", n.Name, err)
	}
	s := &session{app: a, config: c, pools: c.OpenPools(bridge.ErrNoPool, a.log())}
	err = s.check(ctx, n.Name)
	if err == nil || a.waitsForInit(s, n.Name, err) {
		return nil
	}
	return withHint(fmt.Errorf("pool %s was not added: %w", n.Name, err), "correct the cause, or add it nevertheless with --no-check")
}

// waitsForInit says whether a pool lacks nothing but 'pool init', which needs the
// configuration.
func (a *app) waitsForInit(s *session, name string, err error) bool {
	b, openErr := s.pools.Open(name)
	if openErr != nil || !errors.Is(err, pool.ErrNoPool) {
		return false
	}
	if _, can := b.(pool.Initialiser); !can {
		return false
	}
	a.warn("%v; if it is a new pool, run 'volbridge pool init %s' once, on one host", err, name)
	return true
}

// write puts the secret and the table in their places: the secret first, because
// a table without it is a pool that does not work.
func (n *addition) write(ctx context.Context) error {
	table, err := n.table(n.secret.kept())
	if err != nil {
		return err
	}
	err = n.editor.Edit(ctx, func(old []byte) ([]byte, error) {
		text, err := config.AppendPool(old, n.Name, table)
		if err != nil {
			return nil, err
		}
		if err := n.secret.fitting(n.editor); err != nil {
			return nil, err
		}
		return text, n.secret.store(n.editor)
	})
	if err == nil || !n.secret.stored {
		return err
	}
	// The table may be in its place nevertheless, if only the disk's word for it
	// is missing.
	if text, _, readErr := n.editor.Current(); readErr == nil {
		if _, there := config.AppendPool(text, n.Name, nil); there == nil {
			err = errors.Join(err, n.secret.remove())
		}
	}
	return err
}

func addHint(name string, err error) error {
	if errors.Is(err, config.ErrThere) {
		return withHint(withCode(exitRefused, err), "choose another name, or remove that one with 'volbridge pool remove %s'", name)
	}
	return err
}

type addedJSON struct {
	Pool   string `json:"pool"`
	Type   string `json:"type"`
	Config string `json:"config"`
	// Table is what was written, secrets hidden.
	Table      string `json:"table"`
	SecretFile string `json:"secret_file,omitempty"`
	DryRun     bool   `json:"dry_run"`
}

func (a *app) printAddition(n *addition) error {
	table, err := n.table(n.secret.shown())
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(addedJSON{n.Name, n.driver.Type, a.global.Config, string(table), n.secret.file, n.DryRun})
	}
	if n.DryRun {
		a.say("would write into %s:\n", a.global.Config)
		fmt.Fprint(a.out, string(table))
		if n.secret.copied {
			a.say("\nwould write the secret into %s", n.secret.file)
		}
		return nil
	}
	a.say("added pool %s to %s", n.Name, a.global.Config)
	if n.secret.copied {
		a.say("its secret is in %s, for root alone; do the same on every host, or copy both files there", n.secret.file)
	}
	return nil
}
