package target

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/lab/nvmesim"
)

// helloLimit is the size of a greeting, and helloTimeout how long a guest may
// take for it.
const (
	helloLimit   = 4096
	helloTimeout = time.Minute
)

func (p *port) serve(t *Target, address string) {
	p.running.Go(func() {
		for {
			conn, err := p.listener.Accept()
			if err != nil {
				return // closed
			}
			p.running.Go(func() { t.welcome(conn, address) })
		}
	})
}

// welcome answers one greeting. Some only look whether anybody listens, and say
// nothing.
func (t *Target) welcome(conn net.Conn, address string) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(helloTimeout)) != nil {
		return
	}
	var h nvmesim.Hello
	if json.NewDecoder(io.LimitReader(conn, helloLimit)).Decode(&h) != nil {
		return
	}
	// Who does not wait for the answer sees the controller nevertheless.
	_ = json.NewEncoder(conn).Encode(t.connect(h, address))
}

func (p *port) close() error {
	err := p.listener.Close()
	p.running.Wait()
	return err
}

// ListenIn listens at address in the network namespace of process pid. A socket
// belongs to the namespace that its thread was in when it was made.
func ListenIn(ctx context.Context, pid int, address string) (l net.Listener, err error) {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	onLostThread(func() {
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("join the network of process %d: %w", pid, err)
			return
		}
		l, err = new(net.ListenConfig).Listen(ctx, "tcp", address)
	})
	return l, err
}

// onLostThread runs do on a thread that ends afterwards. It is never the
// process's first one: that cannot end, and its namespaces are taken for the
// process's.
func onLostThread(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // not unlocked: the thread ends with this goroutine
		if unix.Gettid() == unix.Getpid() {
			onLostThread(do) // keeps this thread occupied meanwhile
			runtime.UnlockOSThread()
			return
		}
		do()
	}()
	<-done
}
