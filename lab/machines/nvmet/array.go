package nvmet

import (
	"crypto/sha256"
	"encoding/hex"
)

// Array shows each host its own namespaces at the same portals; see the
// package's comment.
type Array struct {
	Target  *Target `json:"-"`
	NQN     string  // what the subsystems' NQNs begin with, at most 200 bytes
	Model   string
	Serial  string
	Portals []Portal
}

// Setup makes the portals. It is idempotent.
func (a *Array) Setup() error {
	for _, p := range a.Portals {
		if err := a.Target.CreatePortal(p); err != nil {
			return err
		}
	}
	return nil
}

// SubsystemNQN is the NQN that the host with this NQN connects to.
func (a *Array) SubsystemNQN(hostNQN string) string {
	sum := sha256.Sum256([]byte(hostNQN))
	return a.NQN + ":" + hex.EncodeToString(sum[:8])
}

// AddHost lets a host connect to its subsystem. It is idempotent.
func (a *Array) AddHost(hostNQN string) error {
	nqn := a.SubsystemNQN(hostNQN)
	if err := a.Target.CreateSubsystem(Subsystem{NQN: nqn, Model: a.Model, Serial: a.Serial, Hosts: []string{hostNQN}}); err != nil {
		return err
	}
	for _, p := range a.Portals {
		if err := a.Target.Publish(p.ID, nqn); err != nil {
			return err
		}
	}
	return nil
}

// RemoveHost ends a host's connections. It is idempotent.
func (a *Array) RemoveHost(hostNQN string) error {
	return a.Target.RemoveSubsystem(a.SubsystemNQN(hostNQN))
}

// Map shows a namespace to a host.
func (a *Array) Map(hostNQN string, ns Namespace) error {
	return a.Target.AddNamespace(a.SubsystemNQN(hostNQN), ns)
}

// Unmap takes a namespace away from a host. It is idempotent.
func (a *Array) Unmap(hostNQN string, nsid uint32) error {
	return a.Target.RemoveNamespace(a.SubsystemNQN(hostNQN), nsid)
}
