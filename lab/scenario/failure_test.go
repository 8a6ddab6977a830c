package scenario

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/volbridge/volbridge/lab"
)

// running is a migration that is in the middle of its copy.
type running struct {
	cmd  *exec.Cmd
	rest *strings.Builder // what it says from now on
	done chan struct{}    // closed when it has said everything
}

// midCopy starts a migration that is slow enough to be met, and returns when
// its copy moves.
func (c *cluster) midCopy(g *guest, more ...string) *running {
	c.Helper()
	args := append([]string{"migrate", g.name, c.b.URI(), "--to-pool", "fast", "--bandwidth", "1"}, more...)
	cmd := c.a.Command(c.ctx, "volbridge", args...)
	stderr, err := cmd.StderrPipe()
	c.must(err)
	c.must(cmd.Start())
	r := &running{cmd: cmd, rest: &strings.Builder{}, done: make(chan struct{})}
	lines := bufio.NewReader(stderr)
	var said strings.Builder
	for {
		line, err := lines.ReadString('\n')
		said.WriteString(line)
		if err != nil {
			c.Fatalf("the migration ended before its copy was met: %v\n%s", err, &said)
		}
		if strings.HasPrefix(line, "disk vda: ") && !strings.HasPrefix(line, "disk vda: 100%") {
			break
		}
	}
	go func() {
		defer close(r.done)
		io.Copy(r.rest, lines)
	}()
	return r
}

// ended waits for the command and returns its exit code and last words.
func (r *running) ended() (int, string) {
	<-r.done
	_ = r.cmd.Wait()
	return r.cmd.ProcessState.ExitCode(), r.rest.String()
}

func (c *cluster) startFileGuest() *guest {
	c.Helper()
	g, xml := c.fileGuest(c.a, "web1")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	return g
}

// allBack fails unless the guest never left and everything is as before.
func (c *cluster) allBack(g *guest) {
	c.Helper()
	c.runsOnlyOn(g, c.a)
	c.stopAndCheck(g, c.a, g.boot, g.format, guestBytes)
	c.nothingLeft()
}

// A script fails on the destination, before ours or after ours, at the hook
// that makes ready or at the one that starts. The guest never stops.
func TestDestinationHookFails(t *testing.T) {
	for _, where := range []string{"10-before-migrate", "90-after-migrate", "10-before-prepare", "90-after-prepare"} {
		t.Run(where, func(t *testing.T) {
			c := up(t, "")
			g := c.startFileGuest()
			c.trip(c.b, where)
			c.wants(c.refused(c.a, "volbridge", "migrate", g.name, c.b.URI(), "--to-pool", "fast"), "tripped over")
			// Where libvirt makes no further call, the pending attachment is
			// for recover to find, on the destination and then on the source.
			c.recover(c.b, "--pending-older-than", "0s")
			c.recover(c.a)
			c.allBack(g)
		})
	}
}

// trip lays a tripwire on a host.
func (c *cluster) trip(h *lab.Host, where string) {
	c.Helper()
	c.must(h.WriteFile("/run/trip-"+where, nil, 0o600))
}

// Ctrl-C in the middle of the copy: everything goes back by itself.
func TestInterrupted(t *testing.T) {
	c := up(t, "")
	g := c.startFileGuest()
	r := c.midCopy(g)
	c.must(r.cmd.Process.Signal(syscall.SIGINT))
	code, said := r.ended()
	if code != 130 && code != 5 {
		t.Errorf("exit code %d", code)
	}
	c.wants(said, "runs on at the source")
	c.allBack(g)
}

// The command is killed. A direct migration dies with it; what it made is
// returned by recover.
func TestKilledDirect(t *testing.T) {
	c := up(t, "")
	g := c.startFileGuest()
	r := c.midCopy(g)
	c.must(r.cmd.Process.Kill())
	r.ended()
	c.untilIdle(g)
	c.volumesAre("fast/web1-vda")
	if fs := c.findings(c.a); len(fs) != 1 || fs[0].Kind != "migration" || fs[0].Outcome != "planned" {
		t.Errorf("a dry run of recover finds %+v", fs)
	}
	c.volumesAre("fast/web1-vda")
	if fs := c.recover(c.a); len(fs) != 1 || fs[0].Outcome != "done" {
		t.Errorf("recover: %+v", fs)
	}
	c.allBack(g)
}

// The command is killed, and the daemons go on without it: the guest arrives,
// and recover only finishes what was asked for.
func TestKilledPeerToPeer(t *testing.T) {
	c := up(t, "")
	g := c.startFileGuest()
	r := c.midCopy(g, "--p2p", "--remove-source", "--undefine-source")
	c.must(r.cmd.Process.Kill())
	r.ended()
	if fs := c.recover(c.a); len(fs) != 1 || fs[0].Outcome != "left" {
		t.Errorf("recover while the daemons still move the guest: %+v", fs)
	}
	c.on(c.a, "virsh", "migrate-setspeed", g.name, "1000")
	c.untilGone(g)
	if fs := c.recover(c.a); len(fs) != 1 || fs[0].Outcome != "done" {
		t.Errorf("recover after the guest has arrived: %+v", fs)
	}
	if _, err := os.Stat(g.boot); !os.IsNotExist(err) {
		t.Errorf("--remove-source was not carried out: %v", err)
	}
	c.runsOnlyOn(g, c.b)
	c.onVolume(c.disk(c.b, g, "vda", "--inactive"), "fast", "web1-vda", guestBytes)
	c.stopAndCheck(g, c.b, c.raw("fast", "web1-vda"), "raw", guestBytes)
	c.nothingLeft("fast/web1-vda")
}

// The destination's libvirtd is restarted during the copy: it ends its half,
// the guest runs on at the source, and everything goes back.
func TestDestinationDaemonRestarts(t *testing.T) {
	c := up(t, "")
	g := c.startFileGuest()
	r := c.midCopy(g)
	c.must(c.b.RestartDaemon(c.ctx))
	code, said := r.ended()
	if code == 0 {
		t.Error("the migration reported success")
	}
	c.wants(said, "runs on at the source")
	c.recover(c.a)
	c.allBack(g)
}

// The destination loses power during the copy.
func TestDestinationLosesPower(t *testing.T) {
	c := up(t, "")
	g := c.startFileGuest()
	r := c.midCopy(g)
	c.must(c.b.Crash(c.ctx))
	code, said := r.ended()
	if code == 0 {
		t.Error("the migration reported success")
	}
	c.wants(said, "runs on at the source")
	c.must(c.b.Boot(c.ctx))
	c.recover(c.b)
	c.recover(c.a)
	c.allBack(g)
}

// The source loses power while its guest runs on a volume. After the boot the
// grant of the boot before is returned; until then no other host gets it.
func TestHostLosesPower(t *testing.T) {
	c := up(t, "")
	g, xml := c.volumeGuest("exact", "web1")
	c.define(c.a, xml)
	c.define(c.b, xml)
	c.on(c.a, "virsh", "start", g.name)
	c.ticks(g)
	c.must(c.a.Crash(c.ctx))
	c.wants(c.refused(c.b, "virsh", "start", g.name), "kvm01")
	c.must(c.a.Boot(c.ctx))
	if fs := c.recover(c.a); len(fs) != 1 || fs[0].Outcome != "done" {
		t.Errorf("recover after the boot: %+v", fs)
	}
	c.nothingLeft("exact/web1")
	c.on(c.b, "virsh", "start", g.name)
	c.runsOnlyOn(g, c.b)
	c.stopAndCheck(g, c.b, g.boot, "raw", 20*mib)
	c.nothingLeft("exact/web1")
}

// untilIdle waits until no migration job is left on the source: libvirt needs
// a while to notice that a client has died.
func (c *cluster) untilIdle(g *guest) {
	c.Helper()
	c.watch(g, "migrated", func() bool {
		return !strings.Contains(c.on(c.a, "virsh", "domjobinfo", g.name), "migration") &&
			!strings.Contains(c.on(c.b, "virsh", "list", "--uuid"), g.uuid)
	})
}

// untilGone waits until the guest has left the source.
func (c *cluster) untilGone(g *guest) {
	c.Helper()
	c.watch(g, "stopped", func() bool {
		return !strings.Contains(c.on(c.a, "virsh", "list", "--uuid"), g.uuid)
	})
}

// watch asks again at each tick of the guest, which are events as good as any.
func (c *cluster) watch(g *guest, what string, done func() bool) {
	c.Helper()
	for !done() {
		if c.ctx.Err() != nil {
			c.Fatalf("waited in vain until guest %s has %s", g.name, what)
		}
		c.ticks(g)
	}
}
