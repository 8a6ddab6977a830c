package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/volbridge/volbridge/lab/machines"
	"github.com/volbridge/volbridge/lab/nvmesim/target"
)

// tickClock notes when a guest's ticks arrive, outside of the machines, so
// that one clock sees both hosts. It hears the source's and the destination's
// QEMU at once.
type tickClock struct {
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	at    []time.Time   // each complete line
	more  chan struct{} // holds one ring
}

// tickAddress is the lab's own, where the machines reach it.
const tickAddress = "10.78.0.1"

func startTickClock(ctx context.Context, l *machines.Lab) (*tickClock, error) {
	listener, err := target.ListenIn(ctx, l.PID(), tickAddress+":0")
	if err != nil {
		return nil, err
	}
	c := &tickClock{listener: listener, more: make(chan struct{}, 1)}
	c.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			c.mu.Lock()
			c.conns = append(c.conns, conn)
			c.mu.Unlock()
			c.running.Go(func() { c.hear(conn) })
		}
	})
	return c, nil
}

// element is the guest's <serial>.
func (c *tickClock) element() string {
	_, port, _ := net.SplitHostPort(c.listener.Addr().String())
	return fmt.Sprintf(`<serial type='tcp'>
      <source mode='connect' host='%s' service='%s'/>
      <protocol type='raw'/>
    </serial>`, tickAddress, port)
}

func (c *tickClock) hear(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		if _, err := in.ReadString('\n'); err != nil {
			return // the guest is elsewhere now
		}
		c.mu.Lock()
		c.at = append(c.at, time.Now())
		c.mu.Unlock()
		select {
		case c.more <- struct{}{}:
		default:
		}
	}
}

// after waits for n ticks from now on.
func (c *tickClock) after(ctx context.Context, n int) error {
	until := c.count() + n
	for c.count() < until {
		select {
		case <-c.more:
		case <-ctx.Done():
			return fmt.Errorf("wait for the guest to count on: %w", ctx.Err())
		}
	}
	return nil
}

func (c *tickClock) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.at)
}

// longest is the longest time between two ticks of which one at least is in
// the time from start to end.
func (c *tickClock) longest(start, end time.Time) (longest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := slices.Clone(c.at)
	slices.SortFunc(at, time.Time.Compare)
	for n := 1; n < len(at); n++ {
		if at[n].After(start) && at[n-1].Before(end) {
			longest = max(longest, at[n].Sub(at[n-1]))
		}
	}
	return longest
}

func (c *tickClock) close() error {
	err := c.listener.Close()
	c.mu.Lock()
	for _, conn := range c.conns {
		err = errors.Join(err, unlessClosed(conn.Close()))
	}
	c.mu.Unlock()
	c.running.Wait()
	return err
}

func unlessClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
