package blockdev

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// A device of another number is DRBD's only where a lab says so; the machine
// that the shipped programs run on does not.
func TestDRBDNumbers(t *testing.T) {
	shipped := newDRBD(System())
	for name, c := range map[string]struct {
		major uint32
		want  bool
	}{"the kernel's": {147, true}, "a loop device": {loopMajor, false}} {
		if is, err := shipped.isMinor(3, unix.Mkdev(c.major, 3)); is != c.want || err != nil {
			t.Errorf("%s: %v, %v", name, is, err)
		}
	}
	if is, _ := shipped.isMinor(3, unix.Mkdev(drbdMajor, 4)); is {
		t.Error("another minor is taken for this one")
	}

	host := System()
	unreadable := errors.New("unreadable")
	host.DRBDNode = func(minor int, rdev uint64) (bool, error) {
		if minor == 5 {
			return false, unreadable
		}
		return rdev == unix.Mkdev(loopMajor, 9), nil
	}
	played := newDRBD(host)
	if is, err := played.isMinor(3, unix.Mkdev(loopMajor, 9)); !is || err != nil {
		t.Errorf("the lab's number: %v, %v", is, err)
	}
	if is, _ := played.isMinor(3, unix.Mkdev(drbdMajor, 3)); is {
		t.Error("the lab says that it is another")
	}
	if _, err := played.isMinor(5, 0); !errors.Is(err, unreadable) {
		t.Errorf("an answer that cannot be read: %v", err)
	}
}
