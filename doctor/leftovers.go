package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/volbridge/volbridge/migrate"
)

func checkLeftovers(ctx context.Context, e *Env) (out []Finding) {
	switch {
	case e.ConfigErr != nil:
		return skip("see config")
	case len(e.stateFindings(ctx)) > 0:
		return skip("see state")
	case e.HostErr != nil:
		return skip("see host-id and host-nqn")
	}
	if _, err := e.libvirt(ctx); err != nil {
		return skip("see libvirt: where the guests run is not known")
	}
	ready, _ := e.usable(ctx)
	var names, dead []string
	for _, p := range e.Config.Pools {
		if ready[p.Name] != nil {
			names = append(names, p.Name)
		} else {
			dead = append(dead, p.Name)
		}
	}
	defer waiting(ctx, "'volbridge recover --dry-run'")()
	found, err := e.Leftovers(ctx, names)
	if err != nil {
		return []Finding{{Level: Fail, Seen: "what is left cannot be seen: " + oneLine(err.Error()), Remedy: "try it: " + e.recoverCommand() + " --dry-run"}}
	}
	for _, f := range found {
		if f.Kind == "attachment" && slices.ContainsFunc(dead, func(name string) bool { return strings.Contains(f.Subject, " "+name+"/") }) && f.Outcome == migrate.Unknown {
			continue
		}
		out = append(out, e.leftover(f)...)
	}
	if len(dead) > 0 {
		out = append(out, skip(fmt.Sprintf("nothing is known of what %s may hold for this host: see pools", strings.Join(dead, ", ")))...)
	}
	return out
}

func (e *Env) leftover(f migrate.Finding) []Finding {
	seen := fmt.Sprintf("%s %s: %s", f.Kind, f.Subject, f.Seen)
	if f.Error != "" {
		seen += ": " + f.Error
	}
	switch f.Outcome {
	case migrate.WouldDo:
		return []Finding{{Level: Warn, Seen: oneLine(seen), Remedy: "let recovery " + f.Action, Commands: []string{e.recoverCommand()}}}
	case migrate.Unfinished:
		remedy := strings.TrimPrefix(f.Action, "none; ")
		if remedy == "none" || remedy == "" {
			remedy = "nothing can be decided from here; see it again with: " + e.recoverCommand() + " --dry-run"
		}
		return []Finding{{Level: Fail, Seen: oneLine(seen), Remedy: remedy}}
	case migrate.Unknown:
		return []Finding{{Level: Warn, Seen: oneLine(seen), Remedy: "see it again with: " + e.recoverCommand() + " --dry-run"}}
	}
	return nil
}

const timer = "volbridge-recover.timer"

func checkTimer(ctx context.Context, e *Env) []Finding {
	if !e.systemd() {
		return skip("systemd does not run this host; see that something runs 'volbridge recover' at boot and every few minutes")
	}
	defer waiting(ctx, "systemctl is-active "+timer)()
	if _, err := e.Exec(ctx, "systemctl", "is-active", "--quiet", timer); err == nil {
		if _, err := e.Exec(ctx, "systemctl", "is-enabled", "--quiet", timer); err == nil {
			return nil
		}
	}
	return []Finding{{Level: Warn, Seen: timer + " does not run, or not from boot on: what a crash leaves stays until somebody runs 'volbridge recover'",
		Remedy: "switch it on", Commands: []string{"systemctl enable --now " + timer}}}
}
