package blockdev

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/lab/drbdsim"
)

func TestMain(m *testing.M) {
	drbdsim.Main() // this program plays DRBD's tools too
	goleak.VerifyTestMain(m)
}

// mib is the size of the volumes in these tests.
const mib = 1 << 20

// newVolume makes a raw file and the connection to it, and sees to it that no
// loop device or link of it outlives the test.
func newVolume(t testing.TB, name string) Connection {
	t.Helper()
	testenv.NeedRoot(t)
	dir := filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "disk.raw")
	if err := os.WriteFile(file, make([]byte, mib), 0o600); err != nil {
		t.Fatal(err)
	}
	pool := "test-" + strings.ToLower(rand.Text())
	c := Connection{
		Protocol: Loop, Pool: pool, Volume: name, HostID: "host-1", SizeBytes: mib, File: file,
		Identity: Identity(uuid.NewString()), Path: StablePath(pool, name),
	}
	t.Cleanup(func() { cleanUp(t, c) })
	return c
}

func cleanUp(t testing.TB, c Connection) {
	l := newLoop(System())
	for _, host := range []string{"host-1", "host-2"} {
		c.HostID = host
		left, err := l.search(c)
		if err != nil {
			t.Error(err)
		}
		for _, s := range left {
			if err := l.requestClear(s.node, mark(c)); err != nil {
				t.Error(err)
			}
		}
	}
	os.RemoveAll(filepath.Dir(c.Path))
	os.Remove(filepath.Dir(filepath.Dir(c.Path))) // fails where others use it
}

// impatient is the loop transport that does not wait for passing openers.
func impatient() loop {
	l := newLoop(System())
	l.patience = 50 * time.Millisecond
	return l
}

func mustAttach(t testing.TB, c Connection) Device {
	t.Helper()
	d, err := Attach(t.Context(), System(), c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// atMost is for what ends by itself: it ends what waits for ever because
// something is wrong, and proves nothing else.
func atMost(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func backingOf(node string) string { return newLoop(System()).backing(node) }

// boundTo says whether the node is bound to the volume; once it is free, others
// may bind it to files of their own at any time.
func boundTo(node string, c Connection) bool { return backingOf(node) == c.File }
