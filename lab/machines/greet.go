package machines

import (
	"bufio"
	"errors"
	"net"
	"strings"
	"sync"
)

// greetings hears from machines that have booted. Each boot says a word of its
// own, so that nobody takes an old greeting for a new one.
type greetings struct {
	listener net.Listener

	mu      sync.Mutex
	waiting map[string]chan struct{}
}

func (l *Lab) listenForGreetings() (*greetings, error) {
	listener, err := l.listen(greetingsPort)
	if err != nil {
		return nil, err
	}
	g := &greetings{listener: listener, waiting: map[string]chan struct{}{}}
	go g.accept()
	return g, nil
}

// expect returns a channel that closes when a machine says the word.
func (g *greetings) expect(word string) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	heard := make(chan struct{})
	g.waiting[word] = heard
	return heard
}

func (g *greetings) accept() {
	for {
		c, err := g.listener.Accept()
		if err != nil {
			return // closed
		}
		go g.hear(c)
	}
}

func (g *greetings) hear(c net.Conn) {
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return // not a greeting
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	word := strings.TrimSpace(line)
	if heard, expected := g.waiting[word]; expected {
		delete(g.waiting, word)
		close(heard)
	}
}

func (g *greetings) close() error {
	if g == nil {
		return nil
	}
	if err := g.listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
