package state

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/volbridge/volbridge/internal/lockfile"
)

// Writers queue at the folder of the file.
func TestWritersWaitTheirTurn(t *testing.T) {
	path := statePath(t)
	// Who has waited for that long writes without a turn.
	s, err := Open(t.Context(), path, boot1, WithBusyTimeout(time.Hour))
	check(t, err)
	defer s.Close()
	done, err := lockfile.Folder(t.Context(), filepath.Dir(path))
	check(t, err)
	wrote := make(chan error, 1)
	go func() {
		_, _, err := s.Claim(t.Context(), attachment("web", "a", "exclusive"))
		wrote <- err
	}()
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := open(t, path, boot1).turn(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a turn without waiting, or not within its time: %v", err)
	}
	select {
	case err := <-wrote:
		t.Errorf("it wrote in the turn of another: %v", err)
	default:
	}
	done()
	check(t, <-wrote)
}

// A writer that does not come to an end keeps others waiting, not forever.
func TestWriterThatStands(t *testing.T) {
	path := statePath(t)
	claim(t, open(t, path, boot1), attachment("web", "a", "exclusive"))
	done, err := lockfile.Folder(t.Context(), filepath.Dir(path))
	check(t, err)
	defer done()
	s, err := Open(t.Context(), path, boot1, WithBusyTimeout(20*time.Millisecond))
	check(t, err)
	defer s.Close()
	check(t, s.Update(t.Context(), attachment("web", "a", "exclusive")))
}
