package nvmet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// Order is one thing to do to an array's target, for who is not in its machine.
type Order struct {
	Do        Do
	Host      string    // NQN of the host that it is for
	Namespace Namespace // Hide, Show, Resized and Unmap use its NSID only
}

// Do says what to do.
type Do string

// What can be ordered; each is the method of Array or Target of this name.
const (
	AddHost    Do = "add-host"
	RemoveHost Do = "remove-host"
	Map        Do = "map"
	Unmap      Do = "unmap"
	Swap       Do = "swap"
	Show       Do = "show" // Enable
	Hide       Do = "hide"
	Resized    Do = "resized"
)

// Orders are carried out in order, up to the first that fails.
type Orders struct {
	Array  Array // its Target is this machine's
	Orders []Order
}

// Obey reads Orders as JSON and carries them out on this machine's target.
func Obey(ctx context.Context, from io.Reader) error {
	var o Orders
	if err := json.NewDecoder(from).Decode(&o); err != nil {
		return fmt.Errorf("read orders: %w", err)
	}
	var err error
	if o.Array.Target, err = Load(ctx); err != nil {
		return err
	}
	if err := o.Array.Setup(); err != nil {
		return err
	}
	for _, order := range o.Orders {
		if err := o.Array.obey(order); err != nil {
			return err
		}
	}
	return nil
}

func (a *Array) obey(o Order) error {
	nqn, nsid := a.SubsystemNQN(o.Host), o.Namespace.NSID
	switch o.Do {
	case AddHost:
		return a.AddHost(o.Host)
	case RemoveHost:
		return a.RemoveHost(o.Host)
	case Map:
		return a.Map(o.Host, o.Namespace)
	case Unmap:
		return a.Unmap(o.Host, nsid)
	case Swap:
		return a.Target.Swap(nqn, o.Namespace)
	case Show, Hide:
		return a.Target.Enable(nqn, nsid, o.Do == Show)
	case Resized:
		return a.Target.Resized(nqn, nsid)
	}
	return fmt.Errorf("unknown order %q", o.Do)
}
