package bridge

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/pool"
)

// wantDisk checks what a host has of a volume for a domain; phase "" is
// nothing at all.
func (h *testHost) wantDisk(uuid, volume string, phase state.Phase) {
	h.w.t.Helper()
	device, granted := h.w.has(h.Host.Name, volume)
	a := h.records(uuid)[volume]
	if there := phase != ""; device != there || granted != there || a.Phase != phase {
		h.w.t.Errorf("%s on %s: device %v, grant %v, record %q; want %q", volume, h.Host.Name, device, granted, a.Phase, phase)
	}
	_, err := os.Stat(h.hints.file(uuid))
	if hinted := err == nil; hinted != (len(h.records(uuid)) > 0) {
		h.w.t.Errorf("domain %s on %s: hint %v with %d records", uuid, h.Host.Name, hinted, len(h.records(uuid)))
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not say %q", err, p)
		}
	}
}

func TestStartAndRelease(t *testing.T) {
	w := newWorld(t, "fast/a", "slow/b")
	h := w.host("kvm01")
	doc := domain(t, uuid1, "", block("fast/a"), "type='file'|<source file='/x'/>", block("slow/b"))
	for range 2 { // the call may come twice
		if err := h.Start(t.Context(), doc); err != nil {
			t.Fatal(err)
		}
		h.wantDisk(uuid1, "fast/a", state.Held)
		h.wantDisk(uuid1, "slow/b", state.Held)
	}
	if a := h.records(uuid1)["fast/a"]; a.Target != "vda" || a.DomainName != "web1" || a.Mode != "exclusive" || a.Path != LinkDir+"fast/a" {
		t.Errorf("record %+v", a)
	}
	for range 2 {
		if err := h.Release(t.Context(), uuid1, doc, Stop{}); err != nil {
			t.Fatal(err)
		}
		h.wantDisk(uuid1, "fast/a", "")
		h.wantDisk(uuid1, "slow/b", "")
	}
}

func TestStartOfUnmanagedDomainTouchesNothing(t *testing.T) {
	w := newWorld(t)
	h := w.host("kvm01")
	if err := h.Start(t.Context(), domain(t, uuid1, "", "type='file'|<source file='/x'/>")); err != nil || len(w.steps) > 0 {
		t.Errorf("%v after %q", err, w.steps)
	}
}

func TestStartRefusedBeforeAnythingIsGranted(t *testing.T) {
	for name, c := range map[string]struct {
		metadata string
		disks    []string
		want     []string
	}{
		"file": {disk("vda", "fast", "a", 0), []string{"type='file'|<source file='/x.qcow2'/>"},
			[]string{"disk vda of domain web1", "no longer on volume fast/a", "file /x.qcow2", "volbridge domain forget web1 vda"}},
		"link as file": {"", []string{"type='file'|<source file='/dev/volbridge/fast/a'/>"}, []string{"write <disk type='block'>"}},
		"volume":       {"", []string{"type='volume'|<source pool='fast' volume='a'/>"}, []string{"type='volume' fast/a", "adopt"}},
		"other path":   {disk("vda", "fast", "a", 0), []string{"type='block'|<source dev='/dev/sdx'/>"}, []string{"no longer on volume fast/a", "block /dev/sdx"}},
		"path of another host": {disk("vda", "fast", "a", 0), []string{foreign("a")},
			[]string{"fast/a is block device /dev/volbridge/fast/a", "virsh edit"}},
		"pool of the metadata": {disk("vda", "gone", "a", 0), []string{block("gone/a")},
			[]string{"disk vda of domain web1: on host kvm01: pool \"gone\""}},
		"path of a pool that is not here": {disk("vda", "fast", "a", 0), []string{block("gone/a")},
			[]string{"no longer on volume fast/a", "block /dev/volbridge/gone/a"}},
		"volume gone": {disk("vda", "fast", "nope", 0), []string{block("fast/nope")}, []string{"no such volume"}},
		"too small": {disk("vda", "fast", "a", 17*mib), []string{block("fast/a")},
			[]string{"volume fast/a has 16777216 bytes, but the guest's disk has 17825792"}},
		"one of two": {"", []string{block("fast/b"), "type='volume'|<source pool='fast' volume='a'/>"}, []string{"disk vdb"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "fast/a", "fast/b")
			h := w.host("kvm01")
			wantError(t, h.Start(t.Context(), domain(t, uuid1, c.metadata, c.disks...)), c.want...)
			for _, s := range w.steps {
				if !strings.HasPrefix(s, "connection ") {
					t.Errorf("step %q", s)
				}
			}
			h.wantDisk(uuid1, "fast/a", "")
			h.wantDisk(uuid1, "fast/b", "")
		})
	}
}

func TestDeviceOfAnotherSizeIsNotHandedOver(t *testing.T) {
	w := newWorld(t, "fast/a")
	w.volumes["fast/a"].deviceBytes = mib
	h := w.host("kvm01")
	wantError(t, h.Start(t.Context(), domain(t, uuid1, disk("vda", "fast", "a", 16*mib), block("fast/a"))), "has 1048576 bytes")
	h.wantDisk(uuid1, "fast/a", "")
}

func TestVolumeOnTwoHostsIsRefused(t *testing.T) {
	w := newWorld(t, "fast/a", "fast/b")
	one, two := w.host("kvm01"), w.host("kvm02")
	doc := domain(t, uuid1, "", block("fast/a"), block("fast/b"))
	if err := one.Start(t.Context(), domain(t, uuid1, "", block("fast/a"))); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{uuid1, uuid2} {
		err := two.Start(t.Context(), domain(t, other, "", block("fast/a"), block("fast/b")))
		wantError(t, err, "disk vda of domain web"+other[:1], "fast/a is held by host kvm01 for domain web1",
			"stop or migrate the domain there", "`volbridge recover` there", "`volbridge volume revoke fast/a --help`")
		var held *pool.HeldError
		if !errors.As(err, &held) {
			t.Errorf("%v is no HeldError", err)
		}
		two.wantDisk(other, "fast/a", "")
		two.wantDisk(other, "fast/b", "")
	}
	one.wantDisk(uuid1, "fast/a", state.Held)
	if err := two.Release(t.Context(), uuid1, doc, Stop{}); err != nil { // libvirt calls it after a refused start
		t.Fatal(err)
	}
	one.wantDisk(uuid1, "fast/a", state.Held)
}

func TestTwoDomainsOnOneHost(t *testing.T) {
	w := newWorld(t, "fast/a")
	h := w.host("kvm01")
	first, second := domain(t, uuid1, "", block("fast/a")), domain(t, uuid2, "", block("fast/a"))
	if err := h.Start(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	wantError(t, h.Start(t.Context(), second), "disk vda of domain web2", "fast/a is used by domain web1")
	if err := h.Release(t.Context(), uuid2, second, Stop{}); err != nil {
		t.Fatal(err)
	}
	h.wantDisk(uuid1, "fast/a", state.Held)
}

func TestShareableDiskOfTwoDomains(t *testing.T) {
	w := newWorld(t, "fast/a")
	h := w.host("kvm01")
	first := domain(t, uuid1, "", block("fast/a")+"<shareable/>")
	second := domain(t, uuid2, "", block("fast/a")+"<readonly/>")
	if err := errors.Join(h.Start(t.Context(), first), h.Start(t.Context(), second)); err != nil {
		t.Fatal(err)
	}
	if err := h.Release(t.Context(), uuid1, first, Stop{}); err != nil {
		t.Fatal(err)
	}
	h.wantDisk(uuid2, "fast/a", state.Held)
	if len(h.records(uuid1)) > 0 {
		t.Error("the released domain has a record")
	}
	if err := h.Release(t.Context(), uuid2, second, Stop{}); err != nil {
		t.Fatal(err)
	}
	h.wantDisk(uuid2, "fast/a", "")
}

func TestDeviceInUseStaysWithItsGrant(t *testing.T) {
	w := newWorld(t, "fast/a", "fast/b")
	h := w.host("kvm01")
	doc := domain(t, uuid1, "", block("fast/a"), block("fast/b"))
	if err := h.Start(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	w.inUse["a"] = true
	err := h.Release(t.Context(), uuid1, doc, Stop{})
	wantError(t, err, "disk vda of domain web1", "in use", "volbridge recover")
	if !errors.Is(err, ErrLeft) {
		t.Errorf("%v is not ErrLeft", err)
	}
	h.wantDisk(uuid1, "fast/a", state.Releasing)
	if device, granted := w.has("kvm01", "fast/b"); device || granted {
		t.Error("the other disk was not released")
	}
	w.inUse["a"] = false
	if err := h.ReleaseAttachment(t.Context(), h.records(uuid1)["fast/a"]); err != nil {
		t.Fatal(err)
	}
	h.wantDisk(uuid1, "fast/a", "")
}

func TestReleaseGoesByRecords(t *testing.T) {
	w := newWorld(t, "fast/a")
	h := w.host("kvm01")
	if err := h.Start(t.Context(), domain(t, uuid1, "", block("fast/a"))); err != nil {
		t.Fatal(err)
	}
	if err := h.Release(t.Context(), uuid1, nil, Stop{}); err != nil {
		t.Fatal(err)
	}
	h.wantDisk(uuid1, "fast/a", "")
}

func TestReleaseWithoutRecordsGoesByTheHolders(t *testing.T) {
	w := newWorld(t, "fast/a")
	doc := domain(t, uuid1, "", block("fast/a"))
	if err := w.host("kvm01").Start(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	lost := w.host("kvm01") // with an empty state file
	if err := lost.Release(t.Context(), uuid2, domain(t, uuid2, "", block("fast/a")), Stop{}); err != nil {
		t.Fatal(err)
	}
	if device, granted := w.has("kvm01", "fast/a"); !device || !granted {
		t.Error("another domain's disk was released")
	}
	if err := lost.Release(t.Context(), uuid1, doc, Stop{}); err != nil {
		t.Fatal(err)
	}
	lost.wantDisk(uuid1, "fast/a", "")
}

func TestReleaseOfVolumeThatIsGone(t *testing.T) {
	w := newWorld(t, "fast/a")
	h := w.host("kvm01")
	if err := h.Start(t.Context(), domain(t, uuid1, "", block("fast/a"))); err != nil {
		t.Fatal(err)
	}
	delete(w.volumes, "fast/a")
	wantError(t, h.Release(t.Context(), uuid1, nil, Stop{}), "no such volume") // its device is there
	clear(w.devices)
	if err := h.Release(t.Context(), uuid1, nil, Stop{}); err != nil || len(h.records(uuid1)) > 0 {
		t.Errorf("%v, records %v", err, h.records(uuid1))
	}
}

// arrive lets a domain run on the first host and announces it to the second.
func arrive(t *testing.T, w *world, metadata string, disks ...string) (one, two *testHost, xml []byte) {
	t.Helper()
	one, two = w.host("kvm01"), w.host("kvm02")
	doc := domain(t, uuid1, metadata, disks...)
	if err := one.Start(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	xml, err := two.Arrive(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	return one, two, xml
}

func TestArrival(t *testing.T) {
	w := newWorld(t, "fast/a")
	one, two, xml := arrive(t, w, "", block("fast/a"))
	two.wantDisk(uuid1, "fast/a", state.Pending)
	one.wantDisk(uuid1, "fast/a", state.Held)
	token := two.records(uuid1)["fast/a"].Arrival
	if meta, _ := parsed(t, xml).Metadata(); token == "" || meta.Arrival != token {
		t.Errorf("token %q, in the document %q", token, meta.Arrival)
	}
	if err := two.Start(t.Context(), parsed(t, xml)); err != nil {
		t.Fatal(err)
	}
	two.wantDisk(uuid1, "fast/a", state.Held)
	if a := two.records(uuid1)["fast/a"]; a.Arrival != "" {
		t.Errorf("token %q is left", a.Arrival)
	}
	if err := one.Release(t.Context(), uuid1, nil, Stop{}); err != nil {
		t.Fatal(err)
	}
	two.wantDisk(uuid1, "fast/a", state.Held)
	one.wantDisk(uuid1, "fast/a", "")
}

func TestLeftoverPendingDoesNotLetTheDomainStartBesideItself(t *testing.T) {
	w := newWorld(t, "fast/a")
	one, two, xml := arrive(t, w, "", block("fast/a"))
	cold := domain(t, uuid1, "", block("fast/a"))
	wantError(t, two.Start(t.Context(), cold), "held by host kvm01 for domain web1")
	two.wantDisk(uuid1, "fast/a", state.Pending)

	used := parsed(t, xml)
	if err := two.Start(t.Context(), used); err != nil { // the real arrival
		t.Fatal(err)
	}
	if err := two.Release(t.Context(), uuid1, used, Stop{}); err != nil {
		t.Fatal(err)
	}
	wantError(t, two.Start(t.Context(), used), "held by host kvm01") // a token counts once
	one.wantDisk(uuid1, "fast/a", state.Held)
	two.wantDisk(uuid1, "fast/a", "")
}

func TestTokenOfAnEarlierArrivalCountsNoMore(t *testing.T) {
	w := newWorld(t, "fast/a")
	_, two, first := arrive(t, w, "", block("fast/a"))
	if _, err := two.Arrive(t.Context(), domain(t, uuid1, "", block("fast/a"))); err != nil {
		t.Fatal(err)
	}
	wantError(t, two.Start(t.Context(), parsed(t, first)), "held by host kvm01")
}

func TestLeftoverPendingBecomesHeldWhereNobodyElseHolds(t *testing.T) {
	w := newWorld(t, "fast/a")
	one, two, _ := arrive(t, w, "", block("fast/a"))
	cold := domain(t, uuid1, "", block("fast/a"))
	if err := errors.Join(one.Release(t.Context(), uuid1, nil, Stop{}), two.Start(t.Context(), cold)); err != nil {
		t.Fatal(err)
	}
	two.wantDisk(uuid1, "fast/a", state.Held)
}

func TestGrantThatWasNotReturnedDoesNotLetTheDomainStart(t *testing.T) {
	w := newWorld(t, "fast/a")
	one, two, xml := arrive(t, w, "", block("fast/a"))
	w.inUse["a"] = true
	wantError(t, one.Release(t.Context(), uuid1, nil, Stop{}), "in use") // after the migration
	w.inUse["a"] = false
	if err := two.Start(t.Context(), parsed(t, xml)); err != nil {
		t.Fatal(err)
	}
	wantError(t, one.Start(t.Context(), domain(t, uuid1, "", block("fast/a"))), "held by host kvm02")
	one.wantDisk(uuid1, "fast/a", "")
	two.wantDisk(uuid1, "fast/a", state.Held)
}

func TestArrivalOfRunningDomainLeavesItHeld(t *testing.T) {
	w := newWorld(t, "fast/a")
	h := w.host("kvm01")
	doc := domain(t, uuid1, "", block("fast/a"))
	if err := h.Start(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Arrive(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	h.wantDisk(uuid1, "fast/a", state.Held)
}

func TestArrivalRewritesDisks(t *testing.T) {
	w := newWorld(t, "fast/a", "fast/b", "fast/c")
	h := w.host("kvm02")
	doc := domain(t, uuid1, disk("vda", "fast", "a", 10*mib+512),
		foreign("a"),
		"type='volume'|<source pool='fast' volume='b'/>",
		"type='file'|<source file='/other.img'/>",
		strings.ReplaceAll(sliced, "web1", "c"))
	xml, err := h.Arrive(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range parsed(t, xml).Disks() {
		got = append(got, fmt.Sprintf("%s %s %s %d", d.Kind, d.Format, d.Source, d.SliceBytes))
	}
	want := []string{
		"block raw /dev/volbridge/fast/a 0", // without a slice the guest saw all of it
		"block raw /dev/volbridge/fast/b 0",
		"file  /other.img 0",
		"block raw /dev/volbridge/fast/c 1048576",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestArrivalOfEncryptedDiskIsRefusedAndUndone(t *testing.T) {
	w := newWorld(t, "fast/a")
	h := w.host("kvm02")
	_, err := h.Arrive(t.Context(), domain(t, uuid1, disk("vda", "fast", "a", 0),
		"type='block'|<source dev='/dev/volbridge/fast/a'><encryption format='luks'><secret type='passphrase' uuid='"+uuid2+"'/></encryption></source>"))
	wantError(t, err, "encryption")
	h.wantDisk(uuid1, "fast/a", "")
}

func TestRestore(t *testing.T) {
	w := newWorld(t, "fast/a")
	h := w.host("kvm01")
	right := domain(t, uuid1, "", block("fast/a"))
	xml, err := h.Restore(t.Context(), right)
	if err != nil || xml != nil {
		t.Errorf("%q, %v; want nothing to change", xml, err)
	}
	h.wantDisk(uuid1, "fast/a", state.Held)
	old := domain(t, uuid1, disk("vda", "fast", "a", 0)+"<volbridge:arrival token='old'/>", foreign("a"))
	xml, err = h.Restore(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	doc := parsed(t, xml)
	if meta, _ := doc.Metadata(); meta.Arrival != "" || doc.Disks()[0].Source != LinkDir+"fast/a" {
		t.Errorf("restored as %s", xml)
	}
	wantError(t, second(w.host("kvm02").Restore(t.Context(), right)), "held by host kvm01")
}

func second(_ []byte, err error) error { return err }

func TestRecordsOfAnEarlierBoot(t *testing.T) {
	w := newWorld(t, "fast/a")
	dir := t.TempDir()
	doc := domain(t, uuid1, "", block("fast/a"))
	if err := w.bootedHost("kvm01", dir, "boot-1").Start(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	clear(w.devices) // the boot took them
	h := w.bootedHost("kvm01", dir, "boot-2")
	if err := h.Start(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	h.wantDisk(uuid1, "fast/a", state.Held)
	if a := h.records(uuid1)["fast/a"]; a.BootID != "boot-2" {
		t.Errorf("record of boot %s", a.BootID)
	}
}

func TestPendingOfAnEarlierBootIsNoArrival(t *testing.T) {
	w := newWorld(t, "fast/a")
	one, dir := w.host("kvm01"), t.TempDir()
	doc := domain(t, uuid1, "", block("fast/a"))
	if err := one.Start(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	xml, err := w.bootedHost("kvm02", dir, "boot-1").Arrive(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	two := w.bootedHost("kvm02", dir, "boot-2")
	wantError(t, two.Start(t.Context(), parsed(t, xml)), "held by host kvm01")
	two.wantDisk(uuid1, "fast/a", "")
}

func TestGrantOfThisHostForAnotherDomainIsLeftAlone(t *testing.T) {
	w := newWorld(t, "fast/a")
	if err := w.host("kvm01").Start(t.Context(), domain(t, uuid1, "", block("fast/a"))); err != nil {
		t.Fatal(err)
	}
	h := w.host("kvm01") // the state file was lost
	doc := domain(t, uuid2, "", block("fast/a"))
	wantError(t, h.Start(t.Context(), doc), "stop domain web1 here first", "volbridge recover")
	if device, granted := w.has("kvm01", "fast/a"); !device || !granted {
		t.Error("the running domain lost its disk")
	}
}

// TestRecordOfAVolumeThatThisHostNowHoldsForAnotherDomain: neither the device
// nor the grant is this domain's any more.
func TestRecordOfAVolumeThatThisHostNowHoldsForAnotherDomain(t *testing.T) {
	w := newWorld(t, "fast/a")
	h := w.host("kvm01")
	doc := domain(t, uuid1, "", block("fast/a"))
	if _, _, err := h.store.Claim(t.Context(), state.Attachment{DomainUUID: uuid1, DomainName: "web1", Target: "vda",
		Pool: "fast", Volume: "a", Mode: "exclusive"}); err != nil {
		t.Fatal(err)
	}
	if err := w.host("kvm01").Start(t.Context(), domain(t, uuid2, "", block("fast/a"))); err != nil { // knows of no record
		t.Fatal(err)
	}
	wantError(t, h.Start(t.Context(), doc), "stop domain web2 here first")
	if device, granted := w.has("kvm01", "fast/a"); !device || !granted {
		t.Error("the running domain lost its disk")
	}
	if a := h.records(uuid1)["fast/a"]; a.Phase != state.Releasing {
		t.Errorf("record %q", a.Phase)
	}
}

func TestReconnect(t *testing.T) {
	w := newWorld(t, "fast/a", "fast/b")
	h := w.host("kvm01")
	doc := domain(t, uuid1, "", block("fast/a"))
	if _, err := h.Arrive(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	before := len(w.steps)
	both := domain(t, uuid1, "", block("fast/a"), block("fast/b"))
	if err := h.Reconnect(t.Context(), uuid1, both); err != nil {
		t.Fatal(err)
	}
	if err := h.Reconnect(t.Context(), uuid1, nil); err != nil {
		t.Fatal(err)
	}
	h.wantDisk(uuid1, "fast/a", state.Held)
	if a := h.records(uuid1)["fast/b"]; a.Phase != state.Held || a.Path != LinkDir+"fast/b" {
		t.Errorf("record %+v of a disk that had none", a)
	}
	for _, s := range w.steps[before:] {
		if strings.HasPrefix(s, "grant") || strings.HasPrefix(s, "attach") || strings.HasPrefix(s, "detach") {
			t.Errorf("reconnect did %q", s)
		}
	}
}

func TestSixteenDisksInParallel(t *testing.T) {
	var volumes, disks []string
	for i := range 16 {
		volumes = append(volumes, fmt.Sprintf("fast/v%d", i))
		disks = append(disks, block(volumes[i]))
	}
	w := newWorld(t, volumes...)
	h := w.host("kvm01")
	if err := h.Start(t.Context(), domain(t, uuid1, "", disks...)); err != nil {
		t.Fatal(err)
	}
	for _, v := range volumes {
		h.wantDisk(uuid1, v, state.Held)
	}
	if err := h.Release(t.Context(), uuid1, nil, Stop{}); err != nil {
		t.Fatal(err)
	}
	for _, v := range volumes {
		h.wantDisk(uuid1, v, "")
	}
}
