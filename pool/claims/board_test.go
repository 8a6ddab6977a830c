package claims

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/volbridge/volbridge/pool"
)

// memory is a board; fail may refuse a call before or after it is done.
type memory struct {
	mu    sync.Mutex
	notes map[string]string
	gone  bool
	calls int
	fail  func(call int) (before, after error)
	seen  func(notes map[string]string) // before each look
}

func (m *memory) do(change func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if m.gone {
		return ErrGone
	}
	var before, after error
	if m.fail != nil {
		before, after = m.fail(m.calls)
	}
	if before != nil {
		return before
	}
	if m.notes == nil {
		m.notes = map[string]string{}
	}
	change()
	return after
}

func (m *memory) Notes(context.Context) (out map[string]string, err error) {
	err = m.do(func() {
		if m.seen != nil {
			m.seen(m.notes)
		}
		out = maps.Clone(m.notes)
	})
	return out, err
}

func (m *memory) Write(_ context.Context, notes map[string]string, drop ...string) error {
	return m.do(func() {
		maps.Copy(m.notes, notes)
		maps.DeleteFunc(m.notes, func(k, _ string) bool { return slices.Contains(drop, k) })
	})
}

func (m *memory) Drop(_ context.Context, keys ...string) error {
	err := m.do(func() {
		for _, k := range keys {
			delete(m.notes, k)
		}
	})
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}

func ledger(b Board) Ledger {
	return Ledger{Board: b, Pool: "p", Volume: "v", MaxValue: 256, Now: time.Now,
		Remedy: func(key string) string { return "remove note " + key }}
}

func request(host, boot, domain string, m pool.AccessMode) pool.GrantRequest {
	return pool.GrantRequest{Volume: "v", Host: pool.Host{Name: host, ID: "id-" + host}, BootID: boot,
		Owner: pool.Owner{UUID: "uuid-" + domain, Name: domain}, Mode: m}
}

// grant announces and settles.
func grant(t *testing.T, l Ledger, r pool.GrantRequest, p Place) error {
	t.Helper()
	a, err := l.Announce(t.Context(), r, p)
	if err != nil {
		return err
	}
	return a.Settle(t.Context())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
