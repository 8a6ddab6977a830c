package drbdsim

import (
	"fmt"
	"strings"
)

// The roles of a replica.
const (
	Primary   = "Primary"
	Secondary = "Secondary"
)

// call is one run of a tool on a host.
type call struct {
	*State
	host string
}

func (c call) do(tool string, args []string) (string, error) {
	var options []string
	var words []string
	for _, a := range args {
		if strings.HasPrefix(a, "--") {
			options = append(options, a)
		} else {
			words = append(words, a)
		}
	}
	switch command := tool + " " + strings.Join(words[:min(1, len(words))], ""); command {
	case "drbdadm dump-xml":
		return c.config(), nil
	case "drbdsetup events2":
		return c.events(words[1:]), nil
	case "drbdsetup show":
		return c.show(words[1:])
	case "drbdadm primary", "drbdadm secondary", "drbdadm net-options":
		return "", c.change(words, options)
	}
	return "", said{20, "unknown command " + strings.Join(args, " ")}
}

func (c call) change(words, options []string) error {
	if len(words) != 2 {
		return said{1, "one resource is needed"}
	}
	name := words[1]
	r := c.Resources[name]
	if r == nil || r.Hosts[c.host] == nil {
		return said{1, fmt.Sprintf("'%s' not defined in your config (for this host).", name)}
	}
	if r.Hosts[c.host].Down {
		return said{10, "0: Failure: (127) Device minor not allocated\nadditional info from kernel:\nunknown minor"}
	}
	switch words[0] {
	case "primary":
		return c.promote(r)
	case "secondary":
		return demote(r.Hosts[c.host])
	}
	return c.netOptions(r, options)
}

// peers are the hosts that this one is connected to.
func (c call) peers(r *Resource) map[string]*Replica {
	found := map[string]*Replica{}
	if me := r.Hosts[c.host]; !me.Cut && !me.StandAlone {
		for name, p := range r.Hosts {
			if name != c.host && !p.Down && !p.Cut && !p.StandAlone {
				found[name] = p
			}
		}
	}
	return found
}

func (c call) promote(r *Resource) error {
	me := r.Hosts[c.host]
	for _, p := range c.peers(r) {
		if p.Role == Primary && me.Role != Primary && !me.Two {
			return said{11, "0: State change failed: (-1) Multiple primaries not allowed by config\n" +
				"Command 'drbdsetup-84 primary 0' terminated with exit code 11"}
		}
	}
	if me.Disk != "UpToDate" && me.Disk != "Diskless" {
		return said{17, "0: State change failed: (-2) Need access to UpToDate data"}
	}
	me.Role = Primary
	return nil
}

func demote(me *Replica) error {
	if me.Open {
		return said{11, "0: State change failed: (-12) Device is held open by someone"}
	}
	me.Role = Secondary
	return nil
}

func (c call) netOptions(r *Resource, options []string) error {
	me := r.Hosts[c.host]
	all := c.peers(r)
	primaries := 0
	all[c.host] = me
	for _, p := range all {
		if p.Role == Primary {
			primaries++
		}
	}
	if me.StandAlone {
		return said{10, "??: Failure: (162) Invalid configuration request"}
	}
	two, protocol := me.Two, me.Protocol
	for _, o := range options {
		switch key, value, _ := strings.Cut(o, "="); {
		case key == "--protocol":
			protocol = value
		case o == "--allow-two-primaries":
			two = true
		case o == "--allow-two-primaries=no":
			two = false
		default:
			return said{20, "unrecognized option " + o}
		}
	}
	if me.Two && !two && primaries > 1 {
		return said{10, "??: Failure: (164) Can not clear allow_two_primaries as long as\nthere a primaries on both sides"}
	}
	if two && protocol != "C" {
		return said{10, "??: Failure: (139) Two primaries need protocol C"}
	}
	for _, p := range all {
		p.Two, p.Protocol = two, protocol
	}
	return nil
}
