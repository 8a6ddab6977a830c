package machines

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"

	"golang.org/x/sys/unix"
)

// The machines of every lab have the same addresses; labs do not see each
// other.
const (
	networks      = 3 // the first is for everything but storage
	bridgeHost    = 1 // the last byte of the lab's own address in a network
	firstHost     = 10
	greetingsPort = 7000
)

func address(network, host int) string { return fmt.Sprintf("10.78.%d.%d", network, host) }

func bridge(network int) string { return fmt.Sprintf("br%d", network) }

// networkLines are the lab's network for ip -batch.
func (l *Lab) networkLines() []string {
	lines := []string{"link set lo up"}
	for network := range networks {
		lines = append(lines,
			fmt.Sprintf("link add %s type bridge", bridge(network)),
			fmt.Sprintf("addr add %s/24 dev %s", address(network, bridgeHost), bridge(network)),
			fmt.Sprintf("link set %s up", bridge(network)))
		for _, n := range l.nodes {
			lines = append(lines,
				fmt.Sprintf("tuntap add dev %s mode tap", n.tap(network)),
				fmt.Sprintf("link set %s master %s up", n.tap(network), bridge(network)))
		}
	}
	return lines
}

// hostsTable is an /etc/hosts that names the lab's machines.
func (l *Lab) hostsTable() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "127.0.0.1 localhost\n")
	for _, n := range l.nodes {
		fmt.Fprintf(&b, "%s %s\n", n.Address(), n.name)
	}
	return b.Bytes()
}

// listen opens a listening socket in the lab's network; it stays there.
// Port 0 lets the kernel choose.
func (l *Lab) listen(port int) (listener net.Listener, err error) {
	inLostThread(func() {
		if err = joinNetwork(l.pid()); err == nil {
			listener, err = net.Listen("tcp", fmt.Sprintf("%s:%d", address(0, bridgeHost), port))
		}
	})
	return listener, err
}

// inLostThread runs f in a thread that ends then, with whatever f has made of
// it. It is never the main one: that cannot end, and the process would be taken
// for one of the namespaces that f has joined.
func inLostThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked, so the thread ends with this goroutine
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			inLostThread(f)
			return
		}
		f()
	}()
	<-done
}

func joinNetwork(pid string) error {
	fd, err := unix.Open("/proc/"+pid+"/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("enter the lab's network: %w (is the lab up?)", err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the lab's network: %w", err)
	}
	return nil
}

// CutLink cuts the machine off from portal network 1 or 2, as a pulled cable
// somewhere on the way does: the machine's own link stays up.
func (n *Node) CutLink(ctx context.Context, portal int) error { return n.setLink(ctx, portal, "down") }

// JoinLink undoes CutLink.
func (n *Node) JoinLink(ctx context.Context, portal int) error { return n.setLink(ctx, portal, "up") }

func (n *Node) setLink(ctx context.Context, portal int, state string) error {
	out, err := n.lab.Command(ctx, "ip", "link", "set", n.tap(portal), state).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: set link of portal %d %s: %w: %s", n.name, portal, state, err, out)
	}
	return nil
}
