package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"

	"github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/machines"
	"github.com/volbridge/volbridge/lab/machines/flash"
)

// gate shows a namespace at the moment when the array acknowledges the
// connection: everything slow is done before, and what is left is one write
// into a file by a shell that waits for it. Without it the array would
// acknowledge long after the hosts have heard of the namespace, because what
// answers is outside of the machine that shows it.
type gate struct {
	*flash.DataPath

	mu      sync.Mutex
	shell   *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Reader
	stop    context.CancelFunc
}

// gateScript takes lines: what to do, the namespace's folder, and what it is.
const gateScript = `while read what ns path nguid; do
	case $what in
	make)
		mkdir $ns
		echo $path >$ns/device_path
		echo $nguid >$ns/device_nguid
		echo 00000000-0000-0000-0000-000000000000 >$ns/device_uuid
		echo made ;;
	show) echo 1 >$ns/enable ;;
	take)
		echo 0 >$ns/enable
		rmdir $ns
		echo taken ;;
	esac
done`

func openGate(ctx context.Context, n *machines.Node, d *flash.DataPath) (*gate, error) {
	ctx, stop := context.WithCancel(ctx)
	g := &gate{DataPath: d, stop: stop, shell: n.Command(ctx, "sh", "-euc", gateScript)}
	var out io.ReadCloser
	var err error
	if g.orders, err = g.shell.StdinPipe(); err == nil {
		out, err = g.shell.StdoutPipe()
	}
	if err == nil {
		g.answers = bufio.NewReader(out)
		err = g.shell.Start()
	}
	return g, err
}

func (g *gate) close() error {
	err := g.orders.Close()
	defer g.stop()
	return errors.Join(err, g.shell.Wait())
}

func (g *gate) folder(hostNQN string, nsid uint32) string {
	return fmt.Sprintf("/sys/kernel/config/nvmet/subsystems/%s/namespaces/%d", g.SubsystemNQN(hostNQN), nsid)
}

func (g *gate) order(answer string, words ...any) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, err := fmt.Fprintln(g.orders, words...); err != nil || answer == "" {
		return err
	}
	line, err := g.answers.ReadString('\n')
	if err == nil && strings.TrimSpace(line) != answer {
		err = fmt.Errorf("%v: %q", words, line)
	}
	return err
}

// Map implements flasharray.DataPath. It does not wait for the last step.
func (g *gate) Map(hostNQN string, nsid uint32, n flasharray.Namespace) error {
	node, err := g.Device(n)
	if err != nil {
		return err
	}
	ns := g.folder(hostNQN, nsid)
	if err := g.order("made", "make", ns, node, n.NGUID); err != nil {
		return err
	}
	return g.order("", "show", ns)
}

// Unmap implements flasharray.DataPath.
func (g *gate) Unmap(hostNQN string, nsid uint32, _ flasharray.Namespace) error {
	return g.order("taken", "take", g.folder(hostNQN, nsid))
}
