package machines

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// serials collect what guests say on their serial ports.
type serials struct {
	mu    sync.Mutex
	open  map[string]*serial
	conns map[net.Conn]bool // of all guests
}

// serial is the port of one guest, wherever it runs.
type serial struct {
	listener net.Listener
	log      *os.File
	turn     sync.Mutex // held by the connection of the QEMU that the guest is in
}

// Serial returns a <serial> element for the guest with this name, the same each
// time, and the file outside of the machines that what it says is added to.
//
// QEMU connects when it starts, so on the destination of a migration while the
// guest still runs on the source. A guest is in one place only: what comes over
// one connection is written first, to its end, and only then what the next has
// to say. So the file has everything in order, wherever the guest has been;
// after a power cut, the last words of a guest may be missing.
func (l *Lab) Serial(guest string) (element, log string, err error) {
	l.serials.mu.Lock()
	defer l.serials.mu.Unlock()
	s := l.serials.open[guest]
	if s == nil {
		if s, err = l.newSerial(guest); err != nil {
			return "", "", fmt.Errorf("serial port of %s: %w", guest, err)
		}
		l.serials.open[guest] = s
	}
	host, port, err := net.SplitHostPort(s.listener.Addr().String())
	return fmt.Sprintf(serialXML, host, port), s.log.Name(), err
}

const serialXML = `<serial type='tcp'>
      <source mode='connect' host='%s' service='%s'/>
      <protocol type='raw'/>
    </serial>`

func (l *Lab) newSerial(guest string) (*serial, error) {
	dir := filepath.Join(l.logDir, "serial")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(dir, guest+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	listener, err := l.listen(0)
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	s := &serial{listener: listener, log: log}
	go l.serials.accept(s)
	return s, nil
}

func (all *serials) accept(s *serial) {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		all.mu.Lock()
		all.conns[c] = true
		all.mu.Unlock()
		go func() {
			s.collect(c)
			all.mu.Lock()
			defer all.mu.Unlock()
			delete(all.conns, c)
		}()
	}
}

// unplug ends the connections from an address: who lost its power cannot.
func (all *serials) unplug(address string) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for c := range all.conns {
		if host, _, err := net.SplitHostPort(c.RemoteAddr().String()); err == nil && host == address {
			_ = c.Close() // it may just have been closed from the other side
		}
	}
}

// collect waits for the first byte before it takes its turn: the destination
// of a migration that fails never has one.
func (s *serial) collect(c net.Conn) {
	defer c.Close()
	var first [1]byte
	if _, err := io.ReadFull(c, first[:]); err != nil {
		return
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	// A connection that breaks ends as one that is closed: the guest is gone.
	if _, err := s.log.Write(first[:]); err == nil {
		_, _ = io.Copy(s.log, c)
	}
}

func (all *serials) close() error {
	all.mu.Lock()
	defer all.mu.Unlock()
	var errs []error
	for _, s := range all.open {
		errs = append(errs, s.listener.Close())
	}
	for c := range all.conns {
		_ = c.Close() // see unplug
	}
	for _, s := range all.open {
		s.turn.Lock() // whoever writes has come to the end
		errs = append(errs, s.log.Close())
		s.turn.Unlock()
	}
	return errors.Join(errs...)
}
