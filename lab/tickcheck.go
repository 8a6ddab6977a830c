package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/fsnotify/fsnotify"
)

// Ticks is what a serial log says.
type Ticks struct {
	Boots int    // how often the guest booted
	Count int    // how many writes it was told done
	Last  uint32 // the highest count that it printed
}

// tickLine is the length of a complete line: a letter, eight digits, newline.
const tickLine = 10

// ReadTicks reads a serial log strictly. QEMU hands each byte of the serial
// port to the file before the guest goes on, and a live migration stops the
// guest between two instructions; so a move leaves no trace in the log, not
// even in the middle of a line, and every value comes exactly once and in
// order. A line may be cut only where the guest was ended: before its next
// boot, or at the end of the log. There, one write may have reached the disk
// without having been printed; so a boot finds the last value, or the next.
func ReadTicks(log []byte) (Ticks, error) {
	var t Ticks
	for at := 0; at < len(log); {
		line := log[at:]
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			line = line[:end+1]
		}
		letter, value, ok := parseTick(line)
		if !ok {
			next, cut := cutLine(line)
			if !cut {
				return t, fmt.Errorf("serial log: at byte %d: %q is no line of the tick guest", at, line)
			}
			at += next
			continue
		}
		if err := t.add(letter, value); err != nil {
			return t, fmt.Errorf("serial log: at byte %d: %w", at, err)
		}
		at += tickLine
	}
	return t, nil
}

func parseTick(line []byte) (letter byte, value uint32, ok bool) {
	if len(line) != tickLine || line[tickLine-1] != '\n' {
		return 0, 0, false
	}
	n, err := strconv.ParseUint(string(line[1:9]), 16, 32)
	return line[0], uint32(n), err == nil
}

// cutLine says how many bytes to pass over if line begins with a piece of a
// line that a boot or the end of the log follows.
func cutLine(line []byte) (next int, ok bool) {
	if line[len(line)-1] == '\n' {
		// B is a digit, too; but the boot's line is the last ten bytes.
		next = len(line) - tickLine
		return next, next > 0 && line[next] == 'B' && isPiece(line[:next])
	}
	if isPiece(line) {
		return len(line), true
	}
	for next = 1; next < len(line); next++ {
		if line[next] == 'B' && isPiece(line[:next]) && isPiece(line[next:]) {
			return len(line), true
		}
	}
	return 0, false
}

// isPiece says whether a line of the tick guest could begin like this.
func isPiece(b []byte) bool {
	if len(b) >= tickLine || bytes.IndexByte([]byte("BTE"), b[0]) < 0 {
		return false
	}
	return len(bytes.Trim(b[1:], "0123456789ABCDEF")) == 0
}

func (t *Ticks) add(letter byte, value uint32) error {
	switch {
	case letter == 'E':
		return fmt.Errorf("the guest's disk refused to write %d", value)
	case letter == 'B' && t.Boots == 0:
	case letter == 'B' && value != t.Last && value != t.Last+1:
		return fmt.Errorf("the guest had printed %d, but found %d on its disk when it booted", t.Last, value)
	case letter == 'B':
	case letter != 'T' || t.Boots == 0:
		return fmt.Errorf("unexpected line %c%08X", letter, value)
	case value != t.Last+1:
		return fmt.Errorf("the count went from %d to %d", t.Last, value)
	}
	if letter == 'B' {
		t.Boots++
	} else {
		t.Count++
	}
	t.Last = value
	return nil
}

// CheckTicks reads the whole log of a guest that has been ended and compares
// it with the count on its disk: nothing that was printed may be missing
// there.
func CheckTicks(log []byte, disk uint32) (Ticks, error) {
	t, err := ReadTicks(log)
	if err != nil {
		return t, err
	}
	if t.Count == 0 {
		return t, errors.New("serial log: the guest has never counted")
	}
	if disk != t.Last && disk != t.Last+1 {
		return t, fmt.Errorf("the guest printed %d, but its disk says %d", t.Last, disk)
	}
	return t, nil
}

// WaitTick waits until the guest has printed a count of at least atLeast and
// returns what the log says then. It fails at once when the log breaks a rule
// of ReadTicks.
func WaitTick(ctx context.Context, serialLog string, atLeast uint32) (Ticks, error) {
	return waitTicks(ctx, serialLog, func(t Ticks) bool { return t.Count > 0 && t.Last >= atLeast })
}

// WaitMore waits until the guest has counted n times more.
func WaitMore(ctx context.Context, serialLog string, n int) (Ticks, error) {
	log, err := os.ReadFile(serialLog)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Ticks{}, err
	}
	now, err := ReadTicks(log)
	if err != nil {
		return now, err
	}
	return waitTicks(ctx, serialLog, func(t Ticks) bool { return t.Count >= now.Count+n })
}

func waitTicks(ctx context.Context, serialLog string, enough func(Ticks) bool) (Ticks, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return Ticks{}, err
	}
	defer w.Close()
	// The file may not be there yet.
	if err := w.Add(filepath.Dir(serialLog)); err != nil {
		return Ticks{}, err
	}
	for {
		log, err := os.ReadFile(serialLog)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Ticks{}, err
		}
		t, err := ReadTicks(log)
		if err != nil || enough(t) {
			return t, err
		}
		select {
		case <-ctx.Done():
			return t, fmt.Errorf("wait for the guest to count on from %d: %w", t.Last, ctx.Err())
		case err := <-w.Errors:
			return t, err
		case <-w.Events:
		}
	}
}
