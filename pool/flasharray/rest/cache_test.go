package rest

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

type portals struct {
	Addresses []string
	Serial    int64
}

func TestCache(t *testing.T) {
	for _, share := range []bool{false, true} {
		a := newArray(t)
		file, option := shared(t)
		if !share {
			option = func(*Options) {}
		}
		c := a.client(option).Cache()
		var got portals
		if _, ok := c.Load("portals", &got); ok {
			t.Error("an entry before there is one")
		}
		want := portals{[]string{"192.0.2.1"}, 1<<62 + 1}
		must(t, c.Store("portals", want))
		must(t, c.Store("host nqn.2014-08.org/x", "kvm01"))
		since, ok := c.Load("portals", &got)
		if !ok || got.Serial != want.Serial || len(got.Addresses) != 1 || time.Since(since) > time.Minute {
			t.Errorf("shared %v: %+v, %v, %v", share, got, since, ok)
		}
		var wrong []int
		if _, ok := c.Load("portals", &wrong); ok || wrong != nil {
			t.Error("an entry of another kind was taken")
		}
		if _, ok := a.client(option).Cache().Load("portals", &got); ok != share {
			t.Errorf("another process finds it: %v, want %v", ok, share)
		}
		must(t, c.Forget("portals"))
		must(t, c.Forget("portals"))
		if _, ok := c.Load("portals", &got); ok {
			t.Error("it was not forgotten")
		}
		if len(a.seen()) != 0 {
			t.Error("the array was asked")
		}
		if !share {
			continue
		}
		entries, err := os.ReadDir(strings.TrimSuffix(file, ".json") + ".cache")
		must(t, err)
		if len(entries) != 1 {
			t.Errorf("files %v", entries)
		}
	}
}

func TestDamagedCache(t *testing.T) {
	a := newArray(t)
	_, option := shared(t)
	c := a.client(option).Cache()
	for name, damage := range map[string]func(file string) error{
		"half":          func(file string) error { return os.Truncate(file, 10) },
		"empty":         func(file string) error { return os.Truncate(file, 0) },
		"others read":   func(file string) error { return os.Chmod(file, 0o640) },
		"of other keys": func(file string) error { return os.Rename(c.file("other"), file) },
		"a folder":      func(file string) error { return os.Remove(file) },
	} {
		must(t, c.Store("other", "x"))
		must(t, c.Store("key", "right"))
		must(t, damage(c.file("key")))
		var got string
		if _, ok := c.Load("key", &got); ok || got != "" {
			t.Errorf("%s: %q", name, got)
		}
		must(t, c.Store("key", "again"))
		if _, ok := c.Load("key", &got); !ok || got != "again" {
			t.Errorf("%s: afterwards %q", name, got)
		}
	}
	if err := c.Store("key", strings.Repeat("x", maxPrivateBytes)); err == nil {
		t.Error("a huge entry was stored")
	}
	if err := c.Store("key", func() {}); err == nil {
		t.Error("a function was stored")
	}
	left, err := filepath.Glob(filepath.Join(c.dir, ".new-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestCacheOfMany(t *testing.T) {
	a := newArray(t)
	_, option := shared(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			c := a.client(option).Cache()
			for range 20 {
				if err := c.Store("key", strings.Repeat("x", 1000+i)); err != nil {
					t.Error(err)
				}
				var got string
				if _, ok := c.Load("key", &got); !ok || len(got) < 1000 {
					t.Errorf("%d bytes, %v", len(got), ok)
				}
			}
		})
	}
	wg.Wait()
}
