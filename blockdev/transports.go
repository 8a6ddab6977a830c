package blockdev

import (
	"context"
	"fmt"
	"strings"
)

// transports are all ways to reach a volume, in the order in which they are
// listed to people.
var transports = []struct {
	protocol Protocol
	on       func(Host) Transport
}{
	{Loop, func(h Host) Transport { return newLoop(h) }},
	{NVMeTCP, func(h Host) Transport { return newNVMe(h) }},
	{DRBD, func(h Host) Transport { return newDRBD(h) }},
}

// For returns the transport of a protocol on this host.
func For(h Host, p Protocol) (Transport, error) {
	var known []string
	for _, t := range transports {
		if t.protocol == p {
			return t.on(h), nil
		}
		known = append(known, string(t.protocol))
	}
	return nil, fmt.Errorf("no transport for protocol %q; this volbridge has: %s", p, strings.Join(known, ", "))
}

// Attach is Transport.Attach of the connection's protocol.
func Attach(ctx context.Context, h Host, c Connection) (Device, error) {
	t, err := For(h, c.Protocol)
	if err != nil {
		return Device{}, fmt.Errorf("attach volume %s/%s: %w", c.Pool, c.Volume, err)
	}
	return t.Attach(ctx, c)
}

// Find is Transport.Find of the connection's protocol.
func Find(ctx context.Context, h Host, c Connection) (Device, error) {
	t, err := For(h, c.Protocol)
	if err != nil {
		return Device{}, fmt.Errorf("find volume %s/%s: %w", c.Pool, c.Volume, err)
	}
	return t.Find(ctx, c)
}

// Detach is Transport.Detach of the connection's protocol.
func Detach(ctx context.Context, h Host, c Connection) error {
	t, err := For(h, c.Protocol)
	if err != nil {
		return fmt.Errorf("detach volume %s/%s: %w", c.Pool, c.Volume, err)
	}
	return t.Detach(ctx, c)
}

// Grow is Resizer.Grow of the connection's protocol. Where devices grow by
// themselves it is Find.
func Grow(ctx context.Context, h Host, c Connection) (Device, error) {
	t, err := For(h, c.Protocol)
	if err != nil {
		return Device{}, fmt.Errorf("grow volume %s/%s: %w", c.Pool, c.Volume, err)
	}
	if r, ok := t.(Resizer); ok {
		return r.Grow(ctx, c)
	}
	return t.Find(ctx, c)
}
