package dir

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/volbridge/volbridge/pool"
)

// A grant that cannot be read is a holder whose name is not known.
func TestUnreadableGrant(t *testing.T) {
	good := `{"format":1,"host":{"name":"kvm02","id":"id-2","boot_id":"b"},"owners":[{"uuid":"u","name":"n","mode":"exclusive","since":"2026-01-01T00:00:00Z"}]}`
	for _, c := range []struct{ name, file, text, says string }{
		{"empty", grantName(kvm02), "", "is damaged"},
		{"cut off", grantName(kvm02), good[:60], "is damaged"},
		{"newer", grantName(kvm02), strings.Replace(good, `"format":1`, `"format":9`, 1), "update volbridge"},
		{"unknown field", grantName(kvm02), strings.Replace(good, `"format":1`, `"format":1,"lease":5`, 1), "unknown field"},
		{"no owner", grantName(kvm02), `{"format":1,"host":{"name":"kvm02","id":"id-2","boot_id":"b"},"owners":[]}`, "names no domain"},
		{"unknown mode", grantName(kvm02), strings.Replace(good, "exclusive", "rw", 1), `mode "rw"`},
		{"no boot", grantName(kvm02), strings.Replace(good, `"boot_id":"b"`, `"boot_id":""`, 1), "names no boot"},
		{"no host id", grantName(kvm02), strings.Replace(good, "id-2", "", 1), "needs both"},
		{"of another host", grantName(kvm01), good, "should be named " + grantName(kvm02)},
		{"not a grant", "notes.txt", "hello", "is damaged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newPool(t)
			b.mustCreate(t, "vol1")
			path := b.file("vol1", grantsName, c.file)
			must(t, os.WriteFile(path, []byte(c.text), 0o600))
			_, grant := b.Grant(t.Context(), request(kvm01, pool.Exclusive))
			_, holders := b.Holders(t.Context(), "vol1")
			for what, err := range map[string]error{"Grant": grant, "Holders": holders, "Delete": b.Delete(t.Context(), "vol1", "")} {
				wantError(t, what, err, c.says)
				wantError(t, what, err, "a host of unknown name may hold the volume")
				wantError(t, what, err, "remove the file "+path)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("the file is gone: %v", err)
			}
		})
	}
}

// The host itself can always give back what it holds, also a damaged grant.
func TestRevokeOfDamagedGrant(t *testing.T) {
	b := newPool(t)
	b.mustCreate(t, "vol1")
	must(t, os.WriteFile(b.file("vol1", grantsName, grantName(kvm01)), []byte("{"), 0o600))
	must(t, b.Revoke(t.Context(), pool.RevokeRequest{Volume: "vol1", Host: kvm01}))
	if got := names(t, b.file("vol1", grantsName)); got != "" {
		t.Errorf("left: %s", got)
	}
}

// Whose of two clones it is, a damaged grant does not say.
func TestRevokeByBootOfDamagedGrant(t *testing.T) {
	b := newPool(t)
	b.mustCreate(t, "vol1")
	path := b.file("vol1", grantsName, grantName(kvm01))
	must(t, os.WriteFile(path, []byte("{"), 0o600))
	err := b.Revoke(t.Context(), pool.RevokeRequest{Volume: "vol1", Host: kvm01, BootIDs: []string{"boot-1"}})
	wantError(t, "Revoke", err, "it may be of a clone")
	wantError(t, "Revoke", err, "remove the file "+path)
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestUnfinishedGrantIsNone(t *testing.T) {
	b := newPool(t)
	b.mustCreate(t, "vol1")
	must(t, os.WriteFile(b.file("vol1", grantsName, tempPrefix+"x"), []byte("{"), 0o600))
	if _, err := b.Grant(t.Context(), request(kvm01, pool.Exclusive)); err != nil {
		t.Error(err)
	}
}

func TestMissingGrantsFolder(t *testing.T) {
	b := newPool(t)
	b.mustCreate(t, "vol1")
	must(t, os.Remove(b.file("vol1", grantsName)))
	for what, err := range everyCall(t, b) {
		switch what {
		case "Grant", "Holders", "Delete", "Revoke":
			wantError(t, what, err, "nobody knows which hosts have the volume")
		}
	}
}

// Hosts whose locks do not exclude each other, as on some network file
// systems: at most one may win. Each announces and judges without the lock.
func TestGrantsWithoutLocks(t *testing.T) {
	t.Run("hosts", func(t *testing.T) {
		raceWithoutLocks(t, func(i int) pool.GrantRequest {
			return request(pool.Host{Name: fmt.Sprintf("kvm%02d", i), ID: fmt.Sprint(i)}, pool.Exclusive)
		})
	})
	t.Run("clones", func(t *testing.T) {
		raceWithoutLocks(t, func(i int) pool.GrantRequest {
			r := request(kvm01, pool.Exclusive)
			r.BootID = fmt.Sprint("boot-", i)
			return r
		})
	})
}

func raceWithoutLocks(t *testing.T, request func(i int) pool.GrantRequest) {
	b := newPool(t)
	b.mustCreate(t, "vol1")
	root, err := b.openPool()
	must(t, err)
	defer root.Close()
	for round := range 30 {
		var all sync.WaitGroup
		start := make(chan struct{})
		errs := make([]error, 4)
		for i := range errs {
			all.Go(func() {
				f, err := openFolder(root, "vol1")
				if err != nil {
					errs[i] = err
					return
				}
				defer f.close()
				<-start
				errs[i] = b.announce(t.Context(), root, f, request(i))
			})
		}
		close(start)
		all.Wait()
		won := 0
		for _, err := range errs {
			var held *pool.HeldError
			if err == nil {
				won++
			} else if !errors.As(err, &held) {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		holders, err := b.Holders(t.Context(), "vol1")
		must(t, err)
		if won > 1 || len(holders) != won {
			t.Fatalf("round %d: %d won, holders %v", round, won, holders)
		}
		for _, h := range holders {
			must(t, b.Revoke(t.Context(), pool.RevokeRequest{Volume: "vol1", Host: h.Host}))
		}
	}
}

// A refused request leaves the grant that the host had before.
func TestRefusedRequestRestoresTheGrant(t *testing.T) {
	b := newPool(t)
	b.mustCreate(t, "vol1")
	for _, host := range []pool.Host{kvm01, kvm02} {
		_, err := b.Grant(t.Context(), request(host, pool.Multi))
		must(t, err)
	}
	before, err := os.ReadFile(b.file("vol1", grantsName, grantName(kvm01)))
	must(t, err)
	_, err = b.Grant(t.Context(), request(kvm01, pool.Exclusive))
	var held *pool.HeldError
	if !errors.As(err, &held) {
		t.Errorf("%v", err)
	}
	after, err := os.ReadFile(b.file("vol1", grantsName, grantName(kvm01)))
	if err != nil || string(after) != string(before) {
		t.Errorf("was %s, is %s, %v", before, after, err)
	}
}

// A volume that is deleted and made again while a host waits for the lock is
// another volume.
func TestGrantInAFolderThatWasDeleted(t *testing.T) {
	b := newPool(t)
	b.mustCreate(t, "vol1")
	root, err := b.openPool()
	must(t, err)
	defer root.Close()
	f, err := openFolder(root, "vol1")
	must(t, err)
	defer f.close()
	must(t, os.Rename(b.file("vol1"), b.file("elsewhere")))
	b.mustCreate(t, "vol1")
	if err := b.announce(t.Context(), root, f, request(kvm01, pool.Exclusive)); !errors.Is(err, pool.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if got := names(t, b.file("elsewhere", grantsName)) + names(t, b.file("vol1", grantsName)); got != "" {
		t.Errorf("a grant was left: %s", got)
	}
}

// A grant that comes while the volume is being deleted stops that.
func TestGrantDuringDelete(t *testing.T) {
	b := newPool(t)
	b.mustCreate(t, "vol1")
	root, err := b.openPool()
	must(t, err)
	defer root.Close()
	f, err := openFolder(root, "vol1")
	must(t, err)
	defer f.close()
	_, err = b.Grant(t.Context(), request(kvm01, pool.Exclusive)) // after Delete has looked
	must(t, err)
	var held *pool.HeldError
	if _, err := b.discard(root, f); !errors.As(err, &held) {
		t.Errorf("%v", err)
	}
	if _, err := b.Lookup(t.Context(), "vol1"); err != nil {
		t.Errorf("the volume is gone: %v", err)
	}
}

func BenchmarkGrantRevoke(b *testing.B) {
	p := newPool(b)
	p.mustCreate(b, "vol1")
	for b.Loop() {
		_, err := p.Grant(b.Context(), request(kvm01, pool.Exclusive))
		must(b, err, p.Revoke(b.Context(), pool.RevokeRequest{Volume: "vol1", Host: kvm01}))
	}
}
