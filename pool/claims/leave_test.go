package claims

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/volbridge/volbridge/pool"
)

// Of many who delete a volume one does it; the others return when it is done.
func TestOneDeletes(t *testing.T) {
	m := &memory{}
	var deleting atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := ledger(m).Leave(t.Context())
			if errors.Is(err, ErrGone) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			deleting.Add(1)
			m.mu.Lock()
			m.gone = true
			m.mu.Unlock()
		})
	}
	wg.Wait()
	if n := deleting.Load(); n != 1 {
		t.Errorf("%d went on", n)
	}
}

func TestHeldIsNotDeleted(t *testing.T) {
	m := &memory{}
	must(t, grant(t, ledger(m), request("kvm01", "b", "web", pool.Exclusive), Place{}))
	_, err := ledger(m).Leave(t.Context())
	var held *pool.HeldError
	if !errors.As(err, &held) || len(m.notes) != 1 {
		t.Errorf("%v; notes %v", err, m.notes)
	}
}

// A grant gives way to a deletion, and leaves no claim.
func TestGrantYieldsToDeletion(t *testing.T) {
	m := &memory{}
	mark, err := ledger(m).Leave(t.Context())
	must(t, err)
	err = grant(t, ledger(m), request("kvm01", "b", "web", pool.Exclusive), Place{})
	if !errors.Is(err, pool.ErrNotFound) || len(m.notes) != 1 {
		t.Errorf("%v; notes %v", err, m.notes)
	}
	if err := mark.Cancel(t.Context(), errSome); err != errSome {
		t.Error(err)
	}
	must(t, grant(t, ledger(m), request("kvm01", "b", "web", pool.Exclusive), Place{}))
}

var errSome = errors.New("some reason")

// A mark of a process that died does not stop a deletion for good.
func TestOldMarkIsTakenOver(t *testing.T) {
	old := newKey(leaveMark, time.Now().Add(-2*recent))
	m := &memory{notes: map[string]string{old: "1 5"}}
	_, err := ledger(m).Leave(t.Context())
	must(t, err)
}

// One that may be alive is waited for, until it is so old that it cannot be.
func TestYoungMarkIsWaitedFor(t *testing.T) {
	start := time.Now()
	young := newKey(leaveMark, start)
	m := &memory{notes: map[string]string{young: "1 5"}}
	l, looks := ledger(m), 0
	l.Now = func() time.Time { looks++; return start.Add(time.Duration(looks) * time.Second) }
	_, err := l.Leave(t.Context())
	must(t, err)
	if at := start.Add(time.Duration(looks) * time.Second); at.Sub(start) <= recent {
		t.Errorf("taken over after %s", at.Sub(start))
	}
}
