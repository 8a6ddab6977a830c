package virt

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/internal/testenv"
	"libvirt.org/go/libvirt"
)

func TestURI(t *testing.T) {
	for _, c := range []struct {
		said string
		env  map[string]string
		want string
	}{
		{"", nil, "qemu:///system"},
		{"", map[string]string{"LIBVIRT_DEFAULT_URI": "a"}, "a"},
		{"", map[string]string{"LIBVIRT_DEFAULT_URI": "a", "VIRSH_DEFAULT_CONNECT_URI": "b"}, "b"},
		{"c", map[string]string{"LIBVIRT_DEFAULT_URI": "a", "VIRSH_DEFAULT_CONNECT_URI": "b"}, "c"},
	} {
		if got := URI(c.said, func(k string) string { return c.env[k] }); got != c.want {
			t.Errorf("URI(%q, %v) = %q, want %q", c.said, c.env, got, c.want)
		}
	}
}

// connect opens libvirt's built-in test driver, which needs no daemon.
func connect(t *testing.T) *libvirt.Connect {
	t.Helper()
	if _, err := LibraryVersion(); errors.Is(err, ErrNoLibrary) {
		testenv.Missing(t, "libvirt's library")
	}
	conn, err := Open("test:///default")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func TestDomain(t *testing.T) {
	conn := connect(t)
	byName, err := Domain(conn, "test")
	if err != nil {
		t.Fatal(err)
	}
	uuid, err := byName.GetUUIDString()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"test", "1", uuid, strings.ToUpper(uuid)} {
		dom, err := Domain(conn, key)
		if err != nil {
			t.Errorf("Domain(%s): %v", key, err)
			continue
		}
		if got, err := dom.GetUUIDString(); got != uuid || err != nil {
			t.Errorf("Domain(%s) has UUID %s, %v; want %s", key, got, err, uuid)
		}
	}
	for _, key := range []string{"", "nobody", "77", "-1", strings.Repeat("x", uuidLength), strings.Repeat("0", uuidLength), "te"} {
		if _, err := Domain(conn, key); !errors.Is(err, ErrNoDomain) {
			t.Errorf("Domain(%q): %v, want ErrNoDomain", key, err)
		}
	}
}

// TestNumericName: an id that nobody has may still be a name.
func TestNumericName(t *testing.T) {
	conn := connect(t)
	if _, err := conn.DomainDefineXML(`<domain type='test'><name>4711</name><memory>1024</memory><os><type>hvm</type></os></domain>`); err != nil {
		t.Fatal(err)
	}
	if _, err := Domain(conn, "4711"); err != nil {
		t.Error(err)
	}
}

func TestOpenRefused(t *testing.T) {
	connect(t)
	_, err := Open("qemu+unix:///system?socket=/nowhere/sock")
	if !errors.Is(err, ErrConnect) || !strings.Contains(err.Error(), "/nowhere/sock") || strings.Contains(err.Error(), "virError") {
		t.Errorf("err = %v", err)
	}
}

func TestLibraryVersion(t *testing.T) {
	connect(t)
	if v, err := LibraryVersion(); err != nil || !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(v) {
		t.Errorf("LibraryVersion = %q, %v", v, err)
	}
}
