package drbdtools

import (
	"strings"
	"testing"
)

func TestUsable(t *testing.T) {
	peer := func(connection, role, replication, disk string) Peer {
		return Peer{Name: "kvm02", Connection: connection, Role: role, Disks: map[int]PeerDisk{0: {replication, disk}}}
	}
	primary, secondary := peer(Connected, Primary, "Established", UpToDate), peer(Connected, "Secondary", "Established", UpToDate)
	lost := peer("Connecting", Unknown, "Off", "DUnknown")
	for name, c := range map[string]struct {
		disk     string
		peers    []Peer
		arriving bool
		want     string // in the error; "" is usable
	}{
		"cold":                          {UpToDate, []Peer{secondary}, false, ""},
		"cold, peer lost":               {UpToDate, []Peer{lost}, false, ""},
		"cold, no peer":                 {UpToDate, nil, false, ""},
		"inconsistent":                  {"Inconsistent", []Peer{secondary}, false, "Inconsistent"},
		"being filled":                  {"Inconsistent", []Peer{peer(Connected, Primary, "SyncTarget", UpToDate)}, true, "SyncTarget); wait"},
		"outdated":                      {"Outdated", []Peer{lost}, false, "Outdated"},
		"failed":                        {"Failed", []Peer{secondary}, false, "Failed"},
		"standalone":                    {UpToDate, []Peer{peer(StandAlone, Unknown, "Off", "DUnknown")}, false, "drbdadm connect r0"},
		"one of two standalone":         {UpToDate, []Peer{secondary, peer(StandAlone, Unknown, "Off", "DUnknown")}, false, "StandAlone"},
		"diskless":                      {Diskless, []Peer{secondary}, false, ""},
		"diskless, peer lost":           {Diskless, []Peer{lost}, false, "no disk"},
		"diskless, peer fills its disk": {Diskless, []Peer{peer(Connected, "Secondary", "Established", "Inconsistent")}, false, "no disk"},
		"arrives":                       {UpToDate, []Peer{primary}, true, ""},
		"arrives, source lost":          {UpToDate, []Peer{lost}, true, "does not reach"},
		"arrives, source not Primary":   {UpToDate, []Peer{secondary}, true, "does not reach"},
		"arrives diskless":              {Diskless, []Peer{secondary}, true, ""},
	} {
		s := State{Resource: "r0", Role: "Secondary", Devices: []Device{{0, 0, c.disk}}, Peers: c.peers}
		err := s.Usable(0, c.arriving)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "r0")) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := (State{Resource: "r0"}).Usable(0, false); err == nil || !strings.Contains(err.Error(), "drbdadm up r0") {
		t.Errorf("down: %v", err)
	}
}
