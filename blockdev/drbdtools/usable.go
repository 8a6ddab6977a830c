package drbdtools

import (
	"fmt"
	"strings"
)

// Usable says why a guest must not be given the volume on this host, nil if it
// may. arriving: the guest comes by live migration, so that everything it has
// written must be here, or on its way here, when it continues.
//
// Whether peers that are not connected use the resource is not judged here.
func (s State) Usable(volume int, arriving bool) error {
	d, up := s.Device(volume)
	if !up {
		return fmt.Errorf("DRBD resource %s is not up on this host: drbdadm up %s", s.Resource, s.Resource)
	}
	for _, p := range s.Peers {
		if p.Connection == StandAlone {
			return fmt.Errorf("DRBD resource %s is %s: this host and its peer do not replicate, be it that somebody disconnected them or "+
				"that each has data that the other has not (split brain; see: journalctl -k -g drbd). If it is no split brain: "+
				"drbdadm connect %s on both; if it is, see \"split brain\" in the DRBD user's guide", s.Resource, StandAlone, s.Resource)
		}
	}
	if err := s.complete(d); err != nil {
		return err
	}
	if arriving && d.Disk != Diskless && !s.sourceConnected() {
		return fmt.Errorf("DRBD resource %s is connected to no peer that is Primary (%s), so that what the guest writes there does not reach "+
			"this host: drbdadm status %s", s.Resource, s.peersText(), s.Resource)
	}
	return nil
}

// complete says whether all data can be read here.
func (s State) complete(d Device) error {
	switch d.Disk {
	case UpToDate:
		return nil
	case Diskless:
		for _, p := range s.Peers {
			if p.Connection == Connected && p.Disks[d.Volume].Disk == UpToDate {
				return nil
			}
		}
		return fmt.Errorf("DRBD resource %s has no disk on this host, and no peer with an UpToDate one is connected (%s): drbdadm status %s",
			s.Resource, s.peersText(), s.Resource)
	}
	return fmt.Errorf("the disk of DRBD resource %s on this host is %s, not %s: its data is old or not complete%s",
		s.Resource, d.Disk, UpToDate, s.syncText(d.Volume))
}

// Severed says whether what is written to the volume here goes nowhere: this host
// has no disk, and no peer is connected.
func (s State) Severed(volume int) bool {
	d, up := s.Device(volume)
	if !up || d.Disk != Diskless {
		return false
	}
	for _, p := range s.Peers {
		if p.Connection == Connected {
			return false
		}
	}
	return true
}

// syncText says how the disk becomes UpToDate.
func (s State) syncText(volume int) string {
	for _, p := range s.Peers {
		if r := p.Disks[volume].Replication; strings.HasSuffix(r, "SyncTarget") || strings.HasSuffix(r, "SyncTargetT") || r == "WFBitMapT" {
			return fmt.Sprintf(" (%s); wait until it is, as \"drbdadm status %s\" shows", r, s.Resource)
		}
	}
	return fmt.Sprintf("; see: drbdadm status %s", s.Resource)
}

func (s State) sourceConnected() bool {
	for _, p := range s.Peers {
		if p.Connection == Connected && p.Role == Primary {
			return true
		}
	}
	return false
}

func (s State) peersText() string {
	var all []string
	for _, p := range s.Peers {
		all = append(all, first(p.Name, "peer")+" "+p.Connection+" "+p.Role)
	}
	if len(all) == 0 {
		return "no peers"
	}
	return strings.Join(all, ", ")
}
