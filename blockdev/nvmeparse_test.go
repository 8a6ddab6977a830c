package blockdev

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestParseNGUID(t *testing.T) {
	for text, want := range map[string]string{
		"009714b5-cb91-634c-24a9-37470002b2c8": testNGUID,
		testNGUID:                              testNGUID,
		strings.ToUpper(testNGUID):             testNGUID,
		noNGUID:                                "",
		dashed(noNGUID):                        "",
	} {
		if got, err := parseNGUID(text); got != want || err != nil {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "eui." + testNGUID, testNGUID[1:], testNGUID + "0", "0009714b5cb916324a9374c470002b2c8",
		"009714b5-cb91-634c-24a9-37470002b2cg", "009714b5-cb91-634c-24a937470002b2c8-", "009714b5cb91-634c-24a9-3747-0002b2c8",
		strings.Repeat("0", 5000)} {
		if got, err := parseNGUID(text); err == nil {
			t.Errorf("%q gives %q", text, got)
		} else if len(err.Error()) > 250 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
}

func FuzzParseNGUID(f *testing.F) {
	f.Add(testNGUID)
	f.Add(dashed(testNGUID))
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseNGUID(text)
		if err != nil || got == "" {
			return
		}
		if !identity.MatchString(got) || strings.ReplaceAll(strings.ToLower(text), "-", "") != got {
			t.Errorf("%q gives %q", text, got)
		}
	})
}

func TestParsePortal(t *testing.T) {
	for text, want := range map[string]string{
		"traddr=192.0.2.1,trsvcid=4420":                                           portalA,
		"traddr=192.0.2.1,trsvcid=4420,src_addr=192.0.2.9":                        portalA,
		"traddr=192.0.2.1,trsvcid=4420,host_traddr=192.0.2.9,host_iface=eth0":     portalA,
		"traddr=::ffff:192.0.2.1,trsvcid=4420":                                    portalA,
		"traddr=2001:db8:0::1,trsvcid=4421":                                       "[2001:db8::1]:4421",
		"host_traddr=192.0.2.2, traddr=192.0.2.1 ,trsvcid=4420,unknown,also=this": portalA,
	} {
		got, err := parsePortal(text)
		if err != nil || got != netip.MustParseAddrPort(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "192.0.2.1", "traddr=192.0.2.1", "trsvcid=4420", "traddr=,trsvcid=4420", "traddr=192.0.2.1,trsvcid=0",
		"traddr=192.0.2.1,trsvcid=65536", "traddr=192.0.2.1,trsvcid=4420,traddr=192.0.2.2", "traddr=array,trsvcid=4420", "0000:00:04.0"} {
		if got, err := parsePortal(text); err == nil {
			t.Errorf("%q gives %v", text, got)
		}
	}
	// Compared as addresses: a portal is no other one that begins like it.
	a, _ := Portal{"192.0.2.1", 4420}.addrPort()
	b, _ := parsePortal("traddr=192.0.2.10,trsvcid=4420")
	if a == b {
		t.Error("192.0.2.1 is 192.0.2.10")
	}
}

func FuzzParsePortal(f *testing.F) {
	f.Add("traddr=192.0.2.1,trsvcid=4420,src_addr=192.0.2.9")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parsePortal(text)
		if err == nil && (!got.IsValid() || got.Port() == 0 || !strings.Contains(text, "traddr=")) {
			t.Errorf("%q gives %v", text, got)
		}
	})
}

func TestNamesOfNamespaces(t *testing.T) {
	for name, want := range map[string]bool{
		"nvme0n1": true, "nvme12n345": true, "nvme0": false, "nvme0c0n1": false, "nvme0n1p1": false, "nvme0n1p1n1": false,
		"ng0n1": false, "nvme0n1\n": false, "../nvme0n1": false, "xnvme0n1": false,
	} {
		if got := namespaceName.MatchString(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	if head, ok := headOf("nvme3c11n7"); head != "nvme3n7" || !ok {
		t.Errorf("%q, %v", head, ok)
	}
}

// What is no namespace's is never looked at, and what no kernel writes is
// nothing that we know.
func TestNVMeStrangeSysfs(t *testing.T) {
	f := newFakeNVMe(t)
	c := f.connection(portalA)
	f.controller(portalA, testHostNQN, "live")
	for _, name := range []string{"nvme0n1p1", "nvme0c0n1", "ng0n1", "nvme0n1x"} {
		f.namespace(name, 1, testNGUID, mib)
	}
	f.namespace("nvme0n2", 2, otherNGUID, mib)
	f.set(f.dirOf("nvme0n2"), "nguid", dashed(testNGUID)+"\nmore")
	f.namespace("nvme0n3", 3, otherNGUID, mib)
	f.set(f.dirOf("nvme0n3"), "nguid", strings.Repeat(dashed(testNGUID), 1000))
	if v, err := f.transport().look(c); err != nil || len(v.withNGUID(testNGUID)) > 0 || len(v.controllers) != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	f.volume()
	for _, size := range []string{"-1", "9223372036854775807", "99999999999999999999", "2048 ", "0x800", "2048\x00", ""} {
		f.set(f.dirOf("nvme0n1"), "size", size)
		if _, err := f.transport().Find(t.Context(), c); !errors.Is(err, ErrWrongDevice) && size != "2048 " {
			t.Errorf("size %q: %v", size, err)
		}
	}
	for file, text := range map[string]string{"hostnqn": testHostNQN + "\x1b[2J", "subsysnqn": testSubsystem + "x", "transport": "rdma"} {
		g := newFakeNVMe(t)
		dir := g.controller(portalA, testHostNQN, "live")
		g.set(dir, file, text)
		if v, err := g.transport().look(g.connection(portalA)); err != nil || len(v.controllers) > 0 {
			t.Errorf("%s %q: %+v, %v", file, text, v, err)
		}
	}
	g := newFakeNVMe(t)
	dir := g.controller(portalA, testHostNQN, "live")
	g.must(os.Remove(dir + "/hostnqn")) // a kernel that does not show it, or a controller that goes
	if v, err := g.transport().look(g.connection(portalA)); err != nil || len(v.controllers) > 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestCleanAttribute(t *testing.T) {
	for text, ok := range map[string]bool{"live\n": true, "": true, "a b \n": true, "a\nb": false, "a\x00": false, "\x1b[2J": false, "é": false} {
		if _, err := cleanAttribute([]byte(text)); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// identifyPage is the Identify Namespace data structure.
func identifyPage(blocks uint64, lbads byte, nguid, eui string) []byte {
	page := make([]byte, identifyBytes)
	binary.LittleEndian.PutUint64(page, blocks)
	page[26] = 1 // the second format
	page[128+4+2] = lbads
	for at, id := range map[int]string{104: nguid, 120: eui} {
		b, err := hex.DecodeString(id)
		if err != nil {
			panic(err)
		}
		copy(page[at:], b)
	}
	return page
}

func descriptor(nidt byte, id string) []byte {
	b, err := hex.DecodeString(id)
	if err != nil {
		panic(err)
	}
	return append([]byte{nidt, byte(len(b)), 0, 0}, b...)
}

func TestParseIdentify(t *testing.T) {
	const eui, uuid = "0123456789abcdef", "6e64eccb994d43849d498780aeec9ad1"
	list := func(d ...[]byte) []byte { return append(slices.Concat(d...), make([]byte, 64)...) }
	for name, c := range map[string]struct {
		page, list []byte
		want       Namespace
		fails      string
	}{
		"all in the page":       {identifyPage(2048, 9, testNGUID, eui), nil, Namespace{NGUID: testNGUID, EUI64: eui, SizeBytes: mib}, ""},
		"blocks of 4096":        {identifyPage(256, 12, testNGUID, ""), nil, Namespace{NGUID: testNGUID, SizeBytes: mib}, ""},
		"NGUID in the list":     {identifyPage(2048, 9, "", ""), list(descriptor(nidtUUID, uuid), descriptor(nidtNGUID, testNGUID)), Namespace{NGUID: testNGUID, UUID: uuid, SizeBytes: mib}, ""},
		"unknown descriptor":    {identifyPage(2048, 9, "", ""), list(descriptor(4, "00"), descriptor(9, "0102"), descriptor(nidtEUI64, eui)), Namespace{EUI64: eui, SizeBytes: mib}, ""},
		"nothing there":         {make([]byte, identifyBytes), nil, Namespace{}, ""},
		"contradiction":         {identifyPage(2048, 9, testNGUID, ""), list(descriptor(nidtNGUID, otherNGUID)), Namespace{}, "contradicts itself"},
		"short NGUID":           {identifyPage(2048, 9, "", ""), list(descriptor(nidtNGUID, testNGUID[2:])), Namespace{}, "15 bytes instead of 16"},
		"list cut off":          {identifyPage(2048, 9, "", ""), descriptor(nidtNGUID, testNGUID)[:10], Namespace{}, "exceeds its list"},
		"tiny blocks":           {identifyPage(2048, 8, testNGUID, ""), nil, Namespace{}, "2^8"},
		"huge blocks":           {identifyPage(2048, 64, testNGUID, ""), nil, Namespace{}, "2^64"},
		"more than 63 bits":     {identifyPage(1<<54, 9, testNGUID, ""), nil, Namespace{}, "more than a device can have"},
		"as large as can be":    {identifyPage(1<<53, 9, testNGUID, ""), nil, Namespace{NGUID: testNGUID, SizeBytes: 1 << 62}, ""},
		"no page":               {nil, nil, Namespace{}, "too short"},
		"format beyond 16":      {extended(identifyPage(2048, 8, testNGUID, "")), nil, Namespace{NGUID: testNGUID, SizeBytes: mib}, ""},
		"format bits ignored":   {ignored(identifyPage(2048, 9, testNGUID, "")), nil, Namespace{NGUID: testNGUID, SizeBytes: mib}, ""},
		"first of two the same": {identifyPage(2048, 9, "", ""), list(descriptor(nidtNGUID, testNGUID), descriptor(nidtNGUID, otherNGUID)), Namespace{NGUID: testNGUID, SizeBytes: mib}, ""},
	} {
		got, err := parseIdentify(c.page, c.list)
		if c.fails == "" && (err != nil || got != c.want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
		if c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
			t.Errorf("%s: %v, want %q", name, err, c.fails)
		}
	}
}

// extended has format 17 = 1 + 1<<4, chosen with bit 5 of FLBAS.
func extended(page []byte) []byte {
	page[25], page[26] = 17, 1|1<<5
	page[128+4*17+2] = 9
	return page
}

// ignored has bit 5 set where there are too few formats for it to count.
func ignored(page []byte) []byte {
	page[26] |= 1 << 5
	return page
}

var hexOnly = regexp.MustCompile(`^([0-9a-f]{16}|[0-9a-f]{32})?$`)

func FuzzParseIdentify(f *testing.F) {
	f.Add(identifyPage(2048, 9, testNGUID, "0123456789abcdef"), descriptor(nidtUUID, testNGUID))
	f.Add(identifyPage(2048, 9, "", ""), descriptor(nidtNGUID, testNGUID))
	f.Fuzz(func(t *testing.T, page, list []byte) {
		n, err := parseIdentify(page, list)
		if err != nil {
			return
		}
		if n.SizeBytes < 0 || n.SizeBytes%512 != 0 || !hexOnly.MatchString(n.NGUID) || !hexOnly.MatchString(n.EUI64) ||
			!hexOnly.MatchString(n.UUID) || n.NGUID == noNGUID {
			t.Errorf("%+v", n)
		}
	})
}
