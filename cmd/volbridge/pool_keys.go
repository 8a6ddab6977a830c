package main

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/volbridge/volbridge/internal/config"
)

// keysHelp is what can stand in the configuration, with the defaults as they are
// in the code.
func (a *app) keysHelp() string {
	d := config.Default()
	var b strings.Builder
	fmt.Fprintf(&b, `The configuration is %s; its pools are the same on every host:

  [pool.fast]
  type = "dir"
  path = "/srv/volbridge"

Keys of each type of pool:

`, config.DefaultPath)
	for _, driver := range a.drivers {
		keys := wrapWords(strings.Join(tomlKeys(driver.Settings()), ", "), helpWidth-textIndent-14)
		fmt.Fprintf(&b, "  %-12s%s\n", driver.Type, strings.Join(keys, "\n"+strings.Repeat(" ", 14)))
	}
	fmt.Fprintf(&b, `
Keys before the first [table], all of which may be left out:

  host_name   name of this host in the pools, for people; without it the
              kernel's
  host_id     what this host is in the pools, unique and lasting; without it
              a hash of /etc/machine-id
  log_level   of the hook: error, warn, info, debug, trace; default %s
  state_dir   what must survive a boot; default %s
  run_dir     what must not; default %s

Keys of [timeouts], such as prepare = "90s", and their defaults:

`, d.LogLevel, d.StateDir, d.RunDir)
	for _, t := range []struct {
		key, what string
		limit     time.Duration
	}{
		{"prepare", "the hook's work at a start, while libvirt waits", d.Timeouts.Prepare},
		{"migrate", "its work for a domain that arrives", d.Timeouts.Migrate},
		{"release", "its work at a stop", d.Timeouts.Release},
		{"device", "until an attached device appears", d.Timeouts.Device},
		{"lock", "until another process lets go of a domain or volume", d.Timeouts.Lock},
		{"pending_age", "after which an arrival that never came is taken back", d.Timeouts.PendingAge},
	} {
		fmt.Fprintf(&b, "  %-13s%-6s%s\n", t.key, t.limit, t.what)
	}
	return b.String()
}

// tomlKeys lists the keys of a driver's settings, in their order.
func tomlKeys(settings any) (keys []string) {
	t := reflect.Indirect(reflect.ValueOf(settings)).Type()
	for i := range t.NumField() {
		if key, _, _ := strings.Cut(t.Field(i).Tag.Get("toml"), ","); key != "" && key != "-" {
			keys = append(keys, key)
		}
	}
	return keys
}
