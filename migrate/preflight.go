package migrate

import (
	"sort"
	"strings"
)

// checkGuest refuses what libvirt would refuse once volumes exist.
func checkGuest(r *Refusal, f Facts) {
	g := f.Guest
	if !g.Active {
		r.add("it is shut off, and only running domains are migrated: start it first (`virsh start %s`)", g.Name)
	}
	if g.Snapshots > 0 {
		r.add("it has %d libvirt snapshots, and libvirt does not migrate a domain with snapshots: delete them first (`virsh snapshot-list %s`)", g.Snapshots, g.Name)
	}
	if g.Job != "" {
		r.add("libvirt runs a job on it (%s): wait for it, or end it with `virsh domjobabort %s`", g.Job, g.Name)
	}
	var targets []string
	for t := range g.BlockJobs {
		targets = append(targets, t)
	}
	sort.Strings(targets)
	for _, t := range targets {
		r.add("disk %s has a running block job (%s): wait for it, or end it with `virsh blockjob %s %s --abort`", t, g.BlockJobs[t], g.Name, t)
	}
}

// checkHosts refuses destinations that cannot be one.
func checkHosts(r *Refusal, f Facts, o Options) {
	if f.Source.UUID != "" && strings.EqualFold(f.Source.UUID, f.Dest.UUID) {
		r.add("source and destination are the same host (%s, host UUID %s): give the URI of another host; two hosts with equal UUIDs need a host_uuid in libvirtd.conf", f.Dest.Name, f.Dest.UUID)
	}
	name := f.Guest.Name
	if o.Tuning.DestName != "" {
		name = o.Tuning.DestName
	}
	for _, g := range f.DestGuests {
		switch {
		case g.UUID == f.Guest.UUID && g.Active:
			r.add("host %s already runs it (UUID %s): the same domain must never run twice; find out which one is right before anything else", f.Dest.Name, g.UUID)
		case g.UUID != f.Guest.UUID && g.Name == name:
			r.add("host %s has another domain named %s (UUID %s): give a new name with --dname", f.Dest.Name, name, g.UUID)
		}
	}
	if o.RemoveSource && f.Guest.Persistent && !o.Tuning.UndefineSource {
		r.add("with --remove-source the definition that stays on the source would name disks that are gone: give --undefine-source as well")
	}
	if o.Tuning.UndefineSource && !f.Guest.Persistent {
		r.add("it is transient: there is no definition to remove, leave --undefine-source out")
	}
}
