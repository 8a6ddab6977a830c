package migrate

import (
	"errors"
	"testing"
)

// TestJudge is the table by which a guest's place is told: what the source
// says × what the destination says.
func TestJudge(t *testing.T) {
	said := func(w Whereabouts) sight { return sight{w: w} }
	var (
		silent    = sight{err: errors.New("no answer")}
		absent    = said(Whereabouts{})
		runs      = said(Whereabouts{Active: true})
		switching = said(Whereabouts{Active: true, Switching: true})
		leaving   = said(Whereabouts{Active: true, Job: JobMigrationOut})
		arriving  = said(Whereabouts{Active: true, Job: JobMigrationIn})
		backup    = said(Whereabouts{Active: true, Job: "backup"})
		stopped   = said(Whereabouts{Active: true, Switching: true, ForMigration: true})
		confirms  = said(Whereabouts{Active: true, Switching: true, ForMigration: true, Job: JobMigrationOut})
	)
	cases := []struct {
		name     string
		src, dst sight
		want     Place
	}{
		{"stayed", runs, absent, AtSource},
		{"stayed, destination silent", runs, silent, AtSource},
		{"arrived", absent, runs, AtDestination},
		{"moving", leaving, switching, InFlight},
		{"moving, destination silent", leaving, silent, InFlight},
		{"stopped for the switch", switching, switching, InFlight},
		{"destination still cleans up", runs, switching, InFlight},
		{"twice", runs, runs, AtBoth},
		{"twice, and one is backed up", backup, runs, AtBoth},
		{"runs there, and libvirt has not taken it from here yet", leaving, runs, InFlight},
		{"runs there already, and may yet be ended there", runs, arriving, InFlight},
		{"runs there already, and is not confirmed there", stopped, arriving, InFlight},
		{"runs there, and has not been confirmed here yet", confirms, runs, InFlight},
		{"runs there, and never confirmed here", stopped, runs, Unconfirmed},
		{"never confirmed here, destination silent", stopped, silent, InFlight},
		{"never confirmed here, and nowhere else", stopped, absent, InFlight},
		{"never confirmed here, and still arriving", stopped, switching, InFlight},
		{"runs there, and in post-copy here", switching, runs, InFlight},
		{"source silent, runs there", silent, runs, Unclear},
		{"both silent", silent, silent, Unclear},
		{"nowhere", absent, absent, Unclear},
		{"gone from the source, destination silent", absent, silent, Unclear},
		{"gone from the source, still arriving", absent, switching, InFlight},
	}
	for _, c := range cases {
		if got, why := judge(c.src, c.dst); got != c.want {
			t.Errorf("%s: %s (%s), want %s", c.name, got, why, c.want)
		}
	}
}
