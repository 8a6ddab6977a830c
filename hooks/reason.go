package hooks

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/internal/lazyregexp"
)

// GuestLogDir is where libvirt keeps the logs of QEMU, one for each domain.
const GuestLogDir = "/var/log/libvirt/qemu"

// shuttingDown is the line that libvirt writes when it ends a QEMU, before it
// calls the hook.
var shuttingDown = lazyregexp.New(`(?m)^([0-9]{4}-[0-9: .+-]+): shutting down, reason=([a-z]+)$`)

// departing are the lines that libvirt writes when a guest starts and when it
// begins to send one to another host.
var departing = lazyregexp.New(`(?m)^[0-9]{4}-[0-9: .+-]+: (starting up |initiating migration$)`)

const logTime = "2006-01-02 15:04:05.000-0700"

// logTail is as much of a log's end as is read: what QEMU says is short.
const logTail = 256 << 10

// stop says why the guest stopped. libvirt tells the hook since 10.5.0; before,
// it writes it only into the guest's log, with the time, so that the line of an
// earlier run is not taken for this one's. The last such line is libvirt's own,
// whatever QEMU wrote before.
//
// Of a guest that was being sent to another host the reason is not known: after
// a post-copy migration that broke, the source is one that somebody destroys, and
// the guest runs on elsewhere.
func (h *Hook) stop(e Event) bridge.Stop {
	if strings.ContainsRune(e.Domain, filepath.Separator) {
		return bridge.Stop{}
	}
	text, err := tail(filepath.Join(h.LogDir, e.Domain+".log"), logTail)
	switch {
	case err != nil, departed(text):
		return bridge.Stop{}
	case e.Extra != "-" && e.Extra != "":
		return bridge.Stop{Reason: e.Extra}
	}
	all := shuttingDown.FindAllSubmatch(text, -1)
	if len(all) == 0 {
		return bridge.Stop{}
	}
	last := all[len(all)-1]
	at, err := time.Parse(logTime, string(last[1]))
	if err != nil {
		return bridge.Stop{}
	}
	return bridge.Stop{Reason: string(last[2]), Logged: at}
}

// departed says whether a migration to another host began since the guest's last
// start, be it that it failed; or whether that is not known, because the log does
// not go back to that start: it was rotated, or QEMU wrote much.
func departed(log []byte) bool {
	all := departing.FindAllSubmatch(log, -1)
	return len(all) == 0 || string(all[len(all)-1][1]) != "starting up "
}

func tail(path string, atMost int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	return io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-atMost), atMost))
}
