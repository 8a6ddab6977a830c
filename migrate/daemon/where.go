package daemon

import (
	"context"
	"errors"
	"fmt"

	"libvirt.org/go/libvirt"

	"github.com/volbridge/volbridge/internal/virt"
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
	w.State, w.Switching = stateWords(state, libvirt.DomainPausedReason(reason))
	w.ForMigration = state == libvirt.DOMAIN_PAUSED && libvirt.DomainPausedReason(reason) == libvirt.DOMAIN_PAUSED_MIGRATION
	// Not from the state: a crashed guest may be kept, with its QEMU and disks.
	w.Active, err = dom.IsActive()
	if err != nil && !errors.Is(noGuest(err), migrate.ErrNoGuest) {
		return w, plain(err)
	}
	if w.Active {
		w.Job, err = jobOf(dom)
	}
	return w, err
}

// stateWords translates libvirt's state. A guest that is paused because it is
// arriving, leaving or starting does not run here (yet, or any more); one that
// is paused for any other reason lives here.
func stateWords(s libvirt.DomainState, reason libvirt.DomainPausedReason) (words string, switching bool) {
	switch s {
	case libvirt.DOMAIN_SHUTOFF:
		return "shut off", false
	case libvirt.DOMAIN_CRASHED:
		return "crashed", false
	case libvirt.DOMAIN_PAUSED:
		switch reason {
		case libvirt.DOMAIN_PAUSED_MIGRATION:
			return "paused for migration", true
		case libvirt.DOMAIN_PAUSED_STARTING_UP:
			return "starting up", true
		case libvirt.DOMAIN_PAUSED_POSTCOPY:
			return "in post-copy", true
		case libvirt.DOMAIN_PAUSED_POSTCOPY_FAILED:
			return "stopped by a failed post-copy", true
		}
		return "paused", false
	case libvirt.DOMAIN_SHUTDOWN:
		return "shutting down", false
	case libvirt.DOMAIN_PMSUSPENDED:
		return "suspended", false
	}
	return "running", false
}

// jobOf names the job that runs on the whole domain, "" if none. A daemon that
// cannot tell (its QEMU does not answer) is an error: the job may be the
// migration whose end is to be known.
func jobOf(dom *libvirt.Domain) (string, error) {
	info, err := dom.GetJobStats(0)
	switch {
	case virt.IsCode(err, libvirt.ERR_NO_DOMAIN), virt.IsCode(err, libvirt.ERR_OPERATION_INVALID):
		return "", nil // it has stopped meanwhile
	case err != nil:
		return "", fmt.Errorf("ask for its job: %w", plain(err))
	case info.Type == libvirt.DOMAIN_JOB_NONE:
		return "", nil
	}
	names := map[libvirt.DomainJobOperationType]string{
		libvirt.DOMAIN_JOB_OPERATION_MIGRATION_IN:  migrate.JobMigrationIn,
		libvirt.DOMAIN_JOB_OPERATION_MIGRATION_OUT: migrate.JobMigrationOut,
		libvirt.DOMAIN_JOB_OPERATION_SAVE:          "save",
		libvirt.DOMAIN_JOB_OPERATION_RESTORE:       "restore",
		libvirt.DOMAIN_JOB_OPERATION_SNAPSHOT:      "snapshot",
		libvirt.DOMAIN_JOB_OPERATION_DUMP:          "dump",
		libvirt.DOMAIN_JOB_OPERATION_BACKUP:        "backup",
		libvirt.DOMAIN_JOB_OPERATION_START:         "start",
	}
	if n, ok := names[info.Operation]; ok {
		return n, nil
	}
	return "unnamed job", nil
}
