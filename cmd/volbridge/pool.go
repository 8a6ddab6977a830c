package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/pool"
)

func poolCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "pool",
		Usage: "add, list, check and remove the pools of the configuration",
		Description: a.keysHelp() + `
Example:
  volbridge pool list`,
		Subcommands: []*cli.Command{
			poolAddCommand(a), poolRemoveCommand(a), poolInitCommand(a), poolListCommand(a), poolInfoCommand(a), poolCheckCommand(a),
		},
	}
}

type poolJSON struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	TotalBytes *int64         `json:"total_bytes,omitempty"`
	FreeBytes  *int64         `json:"free_bytes,omitempty"`
	Volumes    *int           `json:"volumes,omitempty"`
	Settings   map[string]any `json:"settings,omitempty"`
	Error      string         `json:"error,omitempty"`
}

func poolListCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "list", Aliases: []string{"ls"}, Usage: "list the pools and how much fits",
		Description: `A pool that does not answer is listed with what is wrong; the command then ends
with an error.

Example:
  volbridge pool list --output json`,
		Action: func(c *cli.Context) error {
			if _, err := arguments(c); err != nil {
				return err
			}
			return a.poolList(c.Context)
		},
	}
}

func (a *app) poolList(ctx context.Context) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	list := []poolJSON{}
	var rows [][]string
	var dead []string
	for _, p := range s.config.Pools {
		j := poolJSON{Name: p.Name, Type: p.Type}
		state := "ok"
		if err := s.capacity(ctx, p, &j); err != nil {
			j.Error, state = err.Error(), err.Error()
			dead = append(dead, p.Name)
		}
		list = append(list, j)
		rows = append(rows, []string{p.Name, p.Type, optionalSize(j.TotalBytes), optionalSize(j.FreeBytes), state})
	}
	if a.json() {
		err = a.printJSON(list)
	} else {
		err = a.printTable([]string{"POOL", "TYPE", "SIZE", "FREE", "STATE"}, rows)
	}
	if err == nil && len(dead) > 0 {
		err = fmt.Errorf("not every pool works: see what the list says of %s", strings.Join(dead, ", "))
	}
	return err
}

func optionalSize(bytes *int64) string {
	if bytes == nil {
		return ""
	}
	if *bytes == 0 {
		return "0B"
	}
	return sizeText(*bytes)
}

// capacity asks the pool, if it is one that knows.
func (s *session) capacity(ctx context.Context, p config.Pool, into *poolJSON) error {
	b, err := s.pools.Open(p.Name)
	if err != nil {
		return err
	}
	r, ok := b.(pool.CapacityReporter)
	if !ok {
		return nil
	}
	c, err := r.Capacity(ctx)
	if err != nil {
		return err
	}
	into.TotalBytes, into.FreeBytes = &c.TotalBytes, &c.FreeBytes
	return nil
}

func poolInfoCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "info", Usage: "show one pool and its settings; secrets stay hidden", ArgsUsage: "POOL",
		Description: `Example:
  volbridge pool info fast`,
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "POOL")
			if err != nil {
				return err
			}
			return a.poolInfo(c.Context, args[0])
		},
	}
}

func (a *app) poolInfo(ctx context.Context, name string) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	b, err := s.pools.Open(name)
	if err != nil {
		return err
	}
	p, _ := s.config.Pool(name)
	j := poolJSON{Name: p.Name, Type: p.Type}
	if j.Settings, err = settingsOf(p); err != nil {
		return err
	}
	if err := s.capacity(ctx, p, &j); err != nil {
		return err
	}
	volumes, err := b.List(ctx)
	if err != nil {
		return err
	}
	n := len(volumes)
	j.Volumes = &n
	if a.json() {
		return a.printJSON(j)
	}
	return a.printFields(poolFields(j))
}

// settingsOf goes through TOML, because that is where the names of the keys
// and the redaction of secrets are.
func settingsOf(p config.Pool) (map[string]any, error) {
	text, err := toml.Marshal(p.Settings)
	if err != nil {
		return nil, fmt.Errorf("show the settings of pool %s: %w", p.Name, err)
	}
	settings := map[string]any{}
	if err := toml.Unmarshal(text, &settings); err != nil {
		return nil, fmt.Errorf("show the settings of pool %s: %w", p.Name, err)
	}
	dropUnset(p.Settings, settings)
	return settings, nil
}

// dropUnset removes the secrets that are not set: what is shown of a secret does
// not say whether there is one.
func dropUnset(settings any, shown map[string]any) {
	v := reflect.Indirect(reflect.ValueOf(settings))
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		if secret, ok := v.Field(i).Interface().(config.Secret); ok && secret.Empty() {
			key, _, _ := strings.Cut(field.Tag.Get("toml"), ",")
			delete(shown, key)
		}
	}
}

func poolFields(j poolJSON) [][2]string {
	fields := [][2]string{
		{"Pool", j.Name}, {"Type", j.Type}, {"Size", optionalSize(j.TotalBytes)}, {"Free", optionalSize(j.FreeBytes)},
		{"Volumes", fmt.Sprint(*j.Volumes)},
	}
	var keys []string
	for key := range j.Settings {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		fields = append(fields, [2]string{key, fmt.Sprint(j.Settings[key])})
	}
	return fields
}

func poolCheckCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "check", Aliases: []string{"test"}, Usage: "see whether the pools would work on this host", ArgsUsage: "[POOL]",
		Description: `Reads the configuration and asks each pool, without changing anything. Ends with
an error if one does not work. 'pool test' is the same.

With --volume a new, small volume is made in the pool, attached here, written,
read back, detached and deleted: what a guest would need.

Example:
  volbridge pool check
  volbridge pool test fast --volume`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "volume", Usage: "also try a new volume of 8 MiB, and delete it again"}},
		Action: func(c *cli.Context) error {
			name, err := optional(c)
			if err != nil {
				return err
			}
			if c.Bool("volume") {
				if name == "" {
					return helpHint(c, usagef("--volume needs the name of a pool"))
				}
				return a.poolTrial(c.Context, name)
			}
			return a.poolCheck(c.Context, name)
		},
	}
}

type checkJSON struct {
	Pool  string `json:"pool"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

func (a *app) poolCheck(ctx context.Context, name string) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	if _, err := s.host(); err != nil {
		return err
	}
	names := s.pools.Names()
	var errs []error
	if name != "" {
		names = []string{name}
	} else if err := s.warnOfStrays(); err != nil {
		errs = append(errs, err)
	}
	list := []checkJSON{}
	for _, name := range names {
		err := s.check(ctx, name)
		j := checkJSON{Pool: name, OK: err == nil}
		if err != nil {
			errs = append(errs, err)
			j.Error = err.Error()
		} else {
			a.say("pool %s works on this host", name)
		}
		list = append(list, j)
	}
	if len(names) == 0 {
		a.warn("no pool is configured in %s", s.config.Path)
	}
	if a.json() {
		errs = append(errs, a.printJSON(list))
	}
	return errors.Join(errs...)
}

func (s *session) check(ctx context.Context, name string) error {
	b, err := s.pools.Open(name)
	if err != nil {
		return err
	}
	host, err := s.host()
	if err != nil {
		return err
	}
	return pool.Ready(ctx, b, host)
}
