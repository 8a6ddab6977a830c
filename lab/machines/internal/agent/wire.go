// Package agent runs programs in a machine for the outside: one TCP connection
// per program. The end of the connection is the end of the program.
package agent

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// Port is where the agent of every machine listens.
const Port = 7001

// request is the first frame of a connection.
type request struct {
	Argv []string
}

// ending is the last frame: how the program ended. Error says why it was not
// started.
type ending struct {
	Code   int
	Signal unix.Signal
	Error  string
}

// kind says what a frame carries.
type kind byte

const (
	kindRequest kind = 'r' // request as JSON
	kindInput   kind = 'i' // standard input; empty at its end
	kindSignal  kind = 's' // one byte: the signal's number
	kindOutput  kind = 'o' // standard output
	kindErrors  kind = 'e' // standard error
	kindEnding  kind = 'x' // ending as JSON
)

// maxFrameBytes is more than any writer here puts into one frame.
const maxFrameBytes = 1 << 20

// frames writes frames for several goroutines.
type frames struct {
	mu sync.Mutex
	to io.Writer
}

func (f *frames) send(k kind, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	header := make([]byte, 5, 5+len(data))
	header[0] = byte(k)
	binary.BigEndian.PutUint32(header[1:], uint32(len(data)))
	_, err := f.to.Write(append(header, data...))
	return err
}

// stream is an io.Writer whose writes become frames of one kind.
type stream struct {
	frames *frames
	kind   kind
}

// Write sends data as frames.
func (s stream) Write(data []byte) (int, error) {
	for sent := 0; sent < len(data); {
		part := data[sent:min(len(data), sent+maxFrameBytes)]
		if err := s.frames.send(s.kind, part); err != nil {
			return sent, err
		}
		sent += len(part)
	}
	return len(data), nil
}

func receive(from io.Reader) (kind, []byte, error) {
	var header [5]byte
	if _, err := io.ReadFull(from, header[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(header[1:])
	if size > maxFrameBytes {
		return 0, nil, fmt.Errorf("a frame of %d bytes", size)
	}
	data := make([]byte, size)
	_, err := io.ReadFull(from, data)
	return kind(header[0]), data, err
}
