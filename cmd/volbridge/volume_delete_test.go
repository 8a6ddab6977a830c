package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/blockdev"
	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool"
)

// answerAfter says yes, after something has happened while a person thought.
type answerAfter struct {
	meanwhile func()
	answer    *strings.Reader
}

func (a *answerAfter) Read(p []byte) (int, error) {
	if a.meanwhile != nil {
		a.meanwhile()
		a.meanwhile = nil
	}
	return a.answer.Read(p)
}

// A volume without a creation id is replaced by another of its name while the
// question is open: that one stays.
func TestDeleteOnlyWhatWasShown(t *testing.T) {
	a, settings := startArray(t)
	a.AddVolumes("web", 1, mebi)
	ta := arrayApp(t, a.URL, settings)
	ta.inTerminal = true
	ta.in = &answerAfter{answer: strings.NewReader("yes\n"), meanwhile: func() {
		other := arrayApp(t, a.URL, settings)
		other.must(t, "volume", "rm", "flash/web1", "--yes")
		a.AddVolumes("web", 1, 2*mebi)
	}}
	_, err := ta.try(t, "volume", "rm", "flash/web1")
	if !errors.Is(err, pool.ErrNotOurs) || exitCode(t.Context(), err) != exitRefused || !strings.Contains(err.Error(), "another volume's by now") {
		t.Errorf("code %d: %v", exitCode(t.Context(), err), err)
	}
	if v, ok := a.Volume("web1"); !ok || v.Destroyed || v.SizeBytes != 2*mebi {
		t.Errorf("the array has %+v, %t", v, ok)
	}
}

// renamedPool is one whose deletions cannot be told which volume is meant.
type renamedPool struct {
	pool.Backend
	pool.Provisioner
	identity blockdev.Identity
	deleted  bool
}

func (p *renamedPool) Lookup(context.Context, string) (pool.Volume, error) {
	return pool.Volume{Pool: "fast", Name: "web", Identity: p.identity}, nil
}

func (p *renamedPool) Delete(context.Context, string, string) error {
	p.deleted = true
	return nil
}

func TestDeleteShownWhereThePoolCannotBeTold(t *testing.T) {
	shown := pool.Volume{Pool: "fast", Name: "web", Identity: "a"}
	for now, deleted := range map[blockdev.Identity]bool{"a": true, "b": false} {
		p := &renamedPool{identity: now}
		if err := deleteShown(t.Context(), p, p, shown); (err == nil) != deleted || p.deleted != deleted || err != nil && !errors.Is(err, pool.ErrNotOurs) {
			t.Errorf("now %s: deleted %t, %v", now, p.deleted, err)
		}
	}
}

// A deletion that died between the two steps is found under the volume's name,
// and finished.
func TestDeleteFinishesWhatEndedHalfway(t *testing.T) {
	a, settings := startArray(t)
	ta := arrayApp(t, a.URL, settings+"call_timeout = \"1s\"\n")
	ta.must(t, "volume", "create", "flash/web", "--size", "1MiB")
	a.FailFrom(2, lab.Fault{Kind: lab.LostBefore, Method: http.MethodPatch}) // it has its other name then
	if _, err := ta.try(t, "volume", "rm", "flash/web", "--yes"); !errors.Is(err, pool.ErrUnreachable) {
		t.Fatal(err)
	}
	a.ClearFaults()
	_, err := ta.try(t, "volume", "info", "flash/web")
	if exitCode(t.Context(), err) != exitNotFound || !strings.Contains(err.Error(), "its deletion ended halfway") || !strings.Contains(err.Error(), "vb-del-") {
		t.Errorf("info: %v", err)
	}
	ta.must(t, "volume", "rm", "flash/web", "--yes")
	if said := ta.stderr.String(); !strings.Contains(said, "its deletion ended halfway") {
		t.Errorf("said %q", said)
	}
	if left := a.Volumes(); len(left) != 1 || !left[0].Destroyed {
		t.Errorf("left %+v", left)
	}
	if _, err := ta.try(t, "volume", "rm", "flash/web", "--yes"); exitCode(t.Context(), err) != exitNotFound {
		t.Errorf("once more: %v", err)
	}
}
