package pool

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Conflicts returns the holders that stand in the way of the request, by the
// rules in the package's documentation. It is the one place that knows them;
// a backend calls it with all holders of the volume, under its own lock.
func (r GrantRequest) Conflicts(holders []Holder) []Holder {
	var inTheWay []Holder
	for _, h := range holders {
		if !r.tolerates(h) {
			inTheWay = append(inTheWay, h)
		}
	}
	return inTheWay
}

func (r GrantRequest) tolerates(h Holder) bool {
	sameHost, sameOwner := r.same(h), h.Owner.UUID == r.Owner.UUID
	bothMulti := r.Mode == Multi && h.Mode == Multi
	switch {
	case r.otherBoot(h):
		return false
	case sameHost && sameOwner:
		return true
	case sameHost:
		return bothMulti
	case r.Mode == Handover:
		return sameOwner && h.Mode != Multi
	default:
		return bothMulti
	}
}

// same says whether the holder is the host that asks, in this boot or in the
// one that its own record names.
func (r GrantRequest) same(h Holder) bool {
	return h.Host.ID == r.Host.ID &&
		(h.BootID == r.BootID || r.PriorBootID != "" && h.BootID == r.PriorBootID)
}

// otherBoot says whether the holder has the id of the host that asks and yet
// may be another machine.
func (r GrantRequest) otherBoot(h Holder) bool { return h.Host.ID == r.Host.ID && !r.same(h) }

// Covers says whether a grant of this boot is meant.
func (r RevokeRequest) Covers(bootID string) bool {
	return len(r.BootIDs) == 0 || slices.Contains(r.BootIDs, bootID)
}

// Validate refuses a request for a host that cannot be told from others, or
// for a boot without an id.
func (r RevokeRequest) Validate() error {
	if slices.Contains(r.BootIDs, "") {
		return fmt.Errorf("revoke from host %s: a boot id is empty", r.Host.Name)
	}
	return r.Host.Validate()
}

// Validate refuses a request that lacks something that the rules need.
func (r GrantRequest) Validate() error {
	var wrong []error
	if err := r.Host.Validate(); err != nil {
		wrong = append(wrong, err)
	}
	if r.BootID == "" {
		wrong = append(wrong, errors.New("the boot id is missing"))
	}
	if r.Owner.UUID == "" {
		wrong = append(wrong, errors.New("the owner has no UUID"))
	}
	if !r.Mode.Valid() {
		wrong = append(wrong, fmt.Errorf("unknown access mode %q", r.Mode))
	}
	return errors.Join(wrong...)
}

// Validate refuses a host without an id, which could not be told from others,
// or without a name, which people could not.
func (h Host) Validate() error {
	if h.Name == "" || h.ID == "" {
		return fmt.Errorf("host %q with id %q needs both a name and an id", h.Name, h.ID)
	}
	return nil
}

// Valid says whether m is one of the modes above.
func (m AccessMode) Valid() bool { return m == Exclusive || m == Handover || m == Multi }

// SortHolders puts holders into the order that Backend.Holders promises.
func SortHolders(holders []Holder) {
	slices.SortFunc(holders, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(a.Host.Name, b.Host.Name), cmp.Compare(a.Host.ID, b.Host.ID),
			cmp.Compare(a.Owner.UUID, b.Owner.UUID))
	})
}
