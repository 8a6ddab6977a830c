package blockdev

import (
	"context"
	"errors"
	"os"
	"testing"
)

// ahead is a host whose namespace has no link before it was asked what it is;
// then, while its first answer is on its way, first happens.
func ahead(t *testing.T, first func(f *fakeNVMe)) (f *fakeNVMe, asked *int) {
	t.Helper()
	f = newFakeNVMe(t)
	f.controller(portalA, testHostNQN, "live")
	f.namespace("nvme0n1", 1, testNGUID, mib)
	asked = new(int)
	f.asked = func(string) {
		if *asked++; *asked == 1 {
			first(f)
		}
	}
	return f, asked
}

// The namespace is asked before udev has made its link, and not again.
func TestNVMeIsAskedAhead(t *testing.T) {
	f, asked := ahead(t, func(f *fakeNVMe) { f.link("nvme0n1") })
	d, err := f.transport().Attach(atMost(t), f.connection(portalA))
	if err != nil || d.SizeBytes != mib || *asked != 1 {
		t.Errorf("%+v, %v, asked %d times; want once", d, err, *asked)
	}
}

// Another namespace at the same node, which the kernel takes for the volume too,
// is asked itself.
func TestNVMeAnswerAheadIsOfOneNamespace(t *testing.T) {
	f, _ := ahead(t, func(f *fakeNVMe) {
		f.must(os.Rename(f.dirOf("nvme0n1"), f.h.Sys+"/gone"))
		node := f.namespace("nvme0n1", 1, testNGUID, mib)
		f.say(node, Namespace{NGUID: otherNGUID, SizeBytes: mib})
		f.link("nvme0n1")
	})
	if d, err := f.transport().Attach(atMost(t), f.connection(portalA)); !errors.Is(err, ErrWrongDevice) {
		t.Errorf("%+v, %v", d, err)
	}
}

// What this host does with the device until its link is there counts.
func TestNVMeIsTakenWhileItsLinkIsMade(t *testing.T) {
	for name, change := range map[string]struct {
		first  func(f *fakeNVMe)
		want   error
		within func(*testing.T) context.Context
	}{
		"stacked":     {func(f *fakeNVMe) { f.must(os.MkdirAll(f.dirOf("nvme0n1")+"/holders/dm-0", 0o755)) }, ErrInUse, atMost},
		"read-only":   {func(f *fakeNVMe) { f.set(f.dirOf("nvme0n1"), "ro", "1") }, ErrWrongDevice, atMost},
		"other NGUID": {func(f *fakeNVMe) { f.set(f.dirOf("nvme0n1"), "nguid", dashed(otherNGUID)) }, context.DeadlineExceeded, briefly},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := ahead(t, func(f *fakeNVMe) {
				change.first(f)
				f.link("nvme0n1")
			})
			if d, err := f.transport().Attach(change.within(t), f.connection(portalA)); !errors.Is(err, change.want) {
				t.Errorf("%+v, %v; want %v", d, err, change.want)
			}
		})
	}
}

// An answer that was not right is no reason to refuse what the namespace says
// when its link is there.
func TestNVMeWrongAnswerAheadIsAskedAgain(t *testing.T) {
	f, asked := ahead(t, func(f *fakeNVMe) {
		f.say(f.h.Dev+"/nvme0n1", Namespace{NGUID: testNGUID, SizeBytes: mib})
		f.link("nvme0n1")
	})
	f.say(f.h.Dev+"/nvme0n1", Namespace{NGUID: testNGUID, SizeBytes: mib / 2})
	if d, err := f.transport().Attach(atMost(t), f.connection(portalA)); err != nil || *asked != 2 {
		t.Errorf("%+v, %v, asked %d times; want twice", d, err, *asked)
	}
}
