package nvmet

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	arrayNQN = "nqn.2010-06.com.purestorage:flasharray.test"
	hostNQN  = "nqn.2014-08.org.nvmexpress:uuid:host"
	nguid    = "009714b5cb91634c24a937470002b2c8"
)

// fakeTarget is a tree of files that makes directories as configfs does.
func fakeTarget(t *testing.T) *Target {
	target := At(t.TempDir())
	target.mkdir = func(dir string) error {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		var err error
		for _, child := range map[string][]string{
			"subsystems": {"namespaces", "allowed_hosts"}, "ports": {"subsystems"},
		}[filepath.Base(filepath.Dir(dir))] {
			err = errors.Join(err, os.Mkdir(filepath.Join(dir, child), 0o755))
		}
		return err
	}
	target.remove = os.RemoveAll
	for _, dir := range []string{"subsystems", "ports", "hosts"} {
		if err := os.Mkdir(target.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return target
}

func fakeArray(t *testing.T) *Array {
	a := &Array{Target: fakeTarget(t), NQN: arrayNQN, Model: "array", Portals: []Portal{{ID: 1, Address: "10.0.0.1"}, {ID: 2, Address: "10.0.1.1", Port: 4421}}}
	if err := errors.Join(a.Setup(), a.AddHost(hostNQN)); err != nil {
		t.Fatal(err)
	}
	return a
}

// tree lists the files of a target with their contents, and its links.
func tree(t *testing.T, target *Target) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(target.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, target.root+"/")
		if entry.Type()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(path)
			all = append(all, name+" -> "+strings.TrimPrefix(to, target.root+"/"))
			return err
		}
		text, err := os.ReadFile(path)
		all = append(all, name+" = "+string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(all)
	return all
}

func TestMap(t *testing.T) {
	a := fakeArray(t)
	nqn := a.SubsystemNQN(hostNQN)
	if err := a.Map(hostNQN, Namespace{NSID: 7, Path: "/dev/loop0", NGUID: nguid}); err != nil {
		t.Fatal(err)
	}
	subsystem, ns := "subsystems/"+nqn+"/", "subsystems/"+nqn+"/namespaces/7/"
	want := []string{
		"ports/1/addr_adrfam = ipv4", "ports/1/addr_traddr = 10.0.0.1", "ports/1/addr_trsvcid = 4420", "ports/1/addr_trtype = tcp",
		"ports/1/subsystems/" + nqn + " -> subsystems/" + nqn,
		"ports/2/addr_adrfam = ipv4", "ports/2/addr_traddr = 10.0.1.1", "ports/2/addr_trsvcid = 4421", "ports/2/addr_trtype = tcp",
		"ports/2/subsystems/" + nqn + " -> subsystems/" + nqn,
		subsystem + "allowed_hosts/" + hostNQN + " -> hosts/" + hostNQN,
		subsystem + "attr_model = array",
		ns + "device_nguid = " + nguid, ns + "device_path = /dev/loop0", ns + "device_uuid = " + noUUID, ns + "enable = 1",
	}
	if diff := cmp.Diff(want, tree(t, a.Target)); diff != "" {
		t.Error(diff)
	}
}

func TestIdempotent(t *testing.T) {
	a := fakeArray(t)
	before := tree(t, a.Target)
	if err := errors.Join(a.Setup(), a.AddHost(hostNQN), a.Unmap(hostNQN, 9)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, tree(t, a.Target)); diff != "" {
		t.Error(diff)
	}
	if err := errors.Join(a.RemoveHost(hostNQN), a.RemoveHost(hostNQN)); err != nil {
		t.Error(err)
	}
}

func TestSwap(t *testing.T) {
	a := fakeArray(t)
	nqn := a.SubsystemNQN(hostNQN)
	if err := a.Map(hostNQN, Namespace{NSID: 7, Path: "/dev/loop0", NGUID: nguid}); err != nil {
		t.Fatal(err)
	}
	other := Namespace{NSID: 7, Path: "/dev/loop1", NGUID: "008726b5033af24324a9373d00014196", UUID: "11111111-2222-3333-4444-555555555555"}
	if err := a.Target.Swap(nqn, other); err != nil {
		t.Fatal(err)
	}
	got, err := a.Target.Namespaces(nqn)
	if diff := cmp.Diff([]Namespace{other}, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

// TestClear also clears what another array has made.
func TestClear(t *testing.T) {
	a := fakeArray(t)
	if err := errors.Join(
		a.Map(hostNQN, Namespace{NSID: 7, Path: "/dev/loop0", NGUID: nguid}),
		a.Target.CreateSubsystem(Subsystem{NQN: "nqn.other"}), a.Target.Publish(1, "nqn.other"),
		a.Target.Clear(),
	); err != nil {
		t.Fatal(err)
	}
	if left := tree(t, a.Target); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// TestNothingShownAfterError fails each write in turn.
func TestNothingShownAfterError(t *testing.T) {
	for _, attribute := range []string{"device_path", "device_nguid", "device_uuid", "enable"} {
		a := fakeArray(t)
		before := tree(t, a.Target)
		plain := a.Target.mkdir
		a.Target.mkdir = func(dir string) error {
			// A directory cannot be written.
			return errors.Join(plain(dir), os.Mkdir(filepath.Join(dir, attribute), 0o755))
		}
		err := a.Map(hostNQN, Namespace{NSID: 7, Path: "/dev/loop0", NGUID: nguid})
		if err == nil || !strings.Contains(err.Error(), "add namespace 7") {
			t.Errorf("%s cannot be written: %v", attribute, err)
		}
		if diff := cmp.Diff(before, tree(t, a.Target)); diff != "" {
			t.Errorf("%s cannot be written: %s", attribute, diff)
		}
	}
}

func TestHostsHaveDifferentSubsystems(t *testing.T) {
	a := Array{NQN: arrayNQN}
	one, two := a.SubsystemNQN("nqn.host1"), a.SubsystemNQN("nqn.host2")
	if one == two || !strings.HasPrefix(one, arrayNQN) || one != a.SubsystemNQN("nqn.host1") {
		t.Errorf("%s and %s", one, two)
	}
}
