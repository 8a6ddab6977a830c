package hooks

import (
	"context"
	"time"

	"github.com/volbridge/volbridge/internal/config"
)

// rule says what one operation of libvirt makes the hook do.
type rule struct {
	op, subOp string
	// do is nil where there is nothing to do.
	do func(ctx context.Context, c *call) error
	// timeout is the time that the work may take.
	timeout func(config.Timeouts) time.Duration
	// tolerant: the hook says what went wrong and succeeds. At `reconnect`
	// libvirt would kill the running guest otherwise; of `release` it does
	// not look at the result; at `attach` nothing of ours can go wrong.
	tolerant bool
}

// table is all that libvirt calls the hook for; operations that it may add one
// day are as those with nothing to do.
var table = []rule{
	{op: "prepare", subOp: "begin", do: start, timeout: ofPrepare},
	{op: "start", subOp: "begin"},
	{op: "started", subOp: "begin"},
	{op: "migrate", subOp: "begin", do: arrive, timeout: ofMigrate},
	{op: "restore", subOp: "begin", do: restore, timeout: ofPrepare},
	{op: "attach", subOp: "begin", do: note, tolerant: true},
	{op: "reconnect", subOp: "begin", do: reconnect, timeout: ofRelease, tolerant: true},
	{op: "stopped", subOp: "end"},
	{op: "release", subOp: "end", do: release, timeout: ofRelease, tolerant: true},
}

func ofPrepare(t config.Timeouts) time.Duration { return t.Prepare }
func ofMigrate(t config.Timeouts) time.Duration { return t.Migrate }
func ofRelease(t config.Timeouts) time.Duration { return t.Release }

// ruleFor returns the rule of an event, and false where nothing is to be done.
func ruleFor(e Event) (rule, bool) {
	for _, r := range table {
		if r.op == e.Op && r.subOp == e.SubOp && r.do != nil {
			return r, true
		}
	}
	return rule{}, false
}

// start: `prepare begin`, a cold start or an arrival.
func start(ctx context.Context, c *call) error {
	b, err := c.bridge(ctx)
	if err != nil {
		return err
	}
	return b.Start(ctx, c.doc)
}

// arrive: `migrate begin` on the destination. libvirt reads stdout back.
func arrive(ctx context.Context, c *call) error {
	b, err := c.bridge(ctx)
	if err != nil {
		return err
	}
	xml, err := b.Arrive(ctx, c.doc)
	if err != nil {
		return err
	}
	return c.print(xml)
}

// restore: `restore begin`, before the start from a saved image.
func restore(ctx context.Context, c *call) error {
	b, err := c.bridge(ctx)
	if err != nil {
		return err
	}
	xml, err := b.Restore(ctx, c.doc)
	if err != nil {
		return err
	}
	return c.print(xml)
}

// note: `attach begin`, a QEMU that was started by hand is taken over. Its
// disks are open already, so there is nothing to make.
func note(_ context.Context, c *call) error {
	c.log.Info("libvirt takes over a running QEMU; its disks are not managed until \"volbridge domain adopt\"")
	return nil
}

// reconnect: `reconnect begin`, the guest runs and the daemon is back.
func reconnect(ctx context.Context, c *call) error {
	b, err := c.bridge(ctx)
	if err != nil {
		return err
	}
	return b.Reconnect(ctx, c.uuid, c.doc)
}

// release: `release end`, the guest is gone from this host.
func release(ctx context.Context, c *call) error {
	b, err := c.bridge(ctx)
	if err != nil {
		return err
	}
	return b.Release(ctx, c.uuid, c.doc, c.hook.stop(c.event))
}
