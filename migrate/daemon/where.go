package daemon

import (
	"context"
	"errors"
	"fmt"

	"libvirt.org/go/libvirt"

	"github.com/volbridge/volbridge/migrate"
)

// Where says whether the domain is defined and active here.
func (d *Daemon) Where(ctx context.Context, uuid string) (migrate.Whereabouts, error) {
	return within(ctx, func() (migrate.Whereabouts, error) {
		dom, err := d.conn.LookupDomainByUUIDString(uuid)
		if err != nil {
			if errors.Is(noGuest(err), migrate.ErrNoGuest) {
				return migrate.Whereabouts{State: "unknown here"}, nil
			}
			return migrate.Whereabouts{}, fmt.Errorf("look for domain %s on %s: %w", uuid, d.uri, plain(err))
		}
		defer dom.Free()
		return whereabouts(dom)
	})
}

func whereabouts(dom *libvirt.Domain) (migrate.Whereabouts, error) {
	var w migrate.Whereabouts
	state, reason, err := dom.GetState()
	if errors.Is(noGuest(err), migrate.ErrNoGuest) {
		return migrate.Whereabouts{State: "unknown here"}, nil // it went between two calls
	}
	if err != nil {
		return w, plain(err)
	}
	w.Defined, err = dom.IsPersistent()
	if err != nil && !errors.Is(noGuest(err), migrate.ErrNoGuest) {
		return w, plain(err)
	}
	w.State, w.Active, w.Switching = stateWords(state, libvirt.DomainPausedReason(reason))
	if w.Active {
		w.Job = jobOf(dom)
	}
	return w, nil
}

// stateWords translates libvirt's state. A guest that is paused because it is
// arriving, leaving or starting does not run here (yet, or any more); one that
// is paused for any other reason lives here.
func stateWords(s libvirt.DomainState, reason libvirt.DomainPausedReason) (words string, active, switching bool) {
	switch s {
	case libvirt.DOMAIN_SHUTOFF:
		return "shut off", false, false
	case libvirt.DOMAIN_CRASHED:
		return "crashed", false, false
	case libvirt.DOMAIN_PAUSED:
		switch reason {
		case libvirt.DOMAIN_PAUSED_MIGRATION:
			return "paused for migration", true, true
		case libvirt.DOMAIN_PAUSED_STARTING_UP:
			return "starting up", true, true
		case libvirt.DOMAIN_PAUSED_POSTCOPY:
			return "in post-copy", true, true
		case libvirt.DOMAIN_PAUSED_POSTCOPY_FAILED:
			return "stopped by a failed post-copy", true, true
		}
		return "paused", true, false
	case libvirt.DOMAIN_SHUTDOWN:
		return "shutting down", true, false
	case libvirt.DOMAIN_PMSUSPENDED:
		return "suspended", true, false
	}
	return "running", true, false
}

// jobOf names the job that runs on the whole domain. A daemon that does not
// tell has none as far as a migration is concerned: libvirt itself refuses a
// second one.
func jobOf(dom *libvirt.Domain) string {
	info, err := dom.GetJobStats(0)
	if err != nil || info.Type == libvirt.DOMAIN_JOB_NONE {
		return ""
	}
	names := map[libvirt.DomainJobOperationType]string{
		libvirt.DOMAIN_JOB_OPERATION_MIGRATION_IN:  "incoming migration",
		libvirt.DOMAIN_JOB_OPERATION_MIGRATION_OUT: "outgoing migration",
		libvirt.DOMAIN_JOB_OPERATION_SAVE:          "save",
		libvirt.DOMAIN_JOB_OPERATION_RESTORE:       "restore",
		libvirt.DOMAIN_JOB_OPERATION_SNAPSHOT:      "snapshot",
		libvirt.DOMAIN_JOB_OPERATION_DUMP:          "dump",
		libvirt.DOMAIN_JOB_OPERATION_BACKUP:        "backup",
		libvirt.DOMAIN_JOB_OPERATION_START:         "start",
	}
	if n, ok := names[info.Operation]; ok {
		return n
	}
	return "unnamed job"
}
