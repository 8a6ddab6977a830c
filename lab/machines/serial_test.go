package machines

import (
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestSerialOrder has the destination of a migration speak while the source
// still has something to say.
func TestSerialOrder(t *testing.T) {
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s := &serial{log: log}
	var collectors sync.WaitGroup
	plug := func() net.Conn {
		near, far := net.Pipe()
		collectors.Go(func() { s.collect(far) })
		return near
	}
	say := func(c net.Conn, text string) {
		t.Helper()
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	source, failed, destination := plug(), plug(), plug()
	say(source, "on the source ")
	failed.Close() // a migration that did not happen
	say(destination, "a")
	say(source, "to its end, ")
	source.Close()
	say(destination, "nd then here")
	destination.Close()
	collectors.Wait()

	got, err := os.ReadFile(log.Name())
	if want := "on the source to its end, and then here"; string(got) != want || err != nil {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}
