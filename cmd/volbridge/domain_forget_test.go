package main

import (
	"fmt"
	"strings"
	"testing"

	"libvirt.org/go/libvirt"

	"github.com/volbridge/volbridge/domainxml"
)

// moved is adoptable, adopted, with its disk vda moved to another source.
func moved(source string) string {
	return strings.NewReplacer(
		"<memory>", `<metadata><volbridge:domain xmlns:volbridge='`+domainxml.Namespace+`'>`+
			`<volbridge:disk target='vda' pool='fast' volume='web' size='1073741824'/>`+
			`<volbridge:disk target='vdb' pool='fast' volume='data' size='2147483648'/></volbridge:domain></metadata><memory>`,
		"<disk type='block' device='disk'>", "<disk type='file' device='disk'>",
		"<source dev='/dev/volbridge/fast/web'/>", source,
	).Replace(adoptable)
}

func metadataOf(t *testing.T, dom *libvirt.Domain, flags libvirt.DomainXMLFlags) string {
	t.Helper()
	doc, err := definition(dom, "web", flags)
	if err != nil {
		t.Fatal(err)
	}
	meta, has := doc.Metadata()
	return fmt.Sprint(has, meta.Disks)
}

func TestForget(t *testing.T) {
	for name, running := range map[string]bool{"stored": false, "running": true} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t)
			ta := newTestApp(t, "fast")
			dom, err := conn.DomainDefineXML(moved("<source file='/snap/web.s1'/>"))
			if err != nil {
				t.Fatal(err)
			}
			defer dom.Free()
			defer dom.Undefine()
			if running {
				if err := dom.Create(); err != nil {
					t.Fatal(err)
				}
				defer dom.Destroy()
			}
			want := func(what string) {
				t.Helper()
				flags := []libvirt.DomainXMLFlags{libvirt.DOMAIN_XML_INACTIVE, 0}
				for _, f := range flags {
					if got := metadataOf(t, dom, f); got != what {
						t.Errorf("metadata (flags %d): %s, want %s", f, got, what)
					}
				}
			}
			both := "true [{vda fast web 1073741824 } {vdb fast data 2147483648 }]"
			want(both)

			out := ta.must(t, "domain", "forget", "web", "vda", "--dry-run")
			if !strings.Contains(out, "stored definition: disk vda would no longer be recorded as volume fast/web") ||
				strings.Contains(out, "running definition") != running {
				t.Errorf("dry run:\n%s", out)
			}
			want(both)
			if _, err := ta.try(t, "domain", "forget", "web", "vdc"); exitCode(t.Context(), err) != exitNotFound {
				t.Errorf("a disk that is not in the metadata: %v", err)
			}
			want(both)

			before := stored(t, dom).Disks()
			ta.must(t, "domain", "forget", "web", "vda")
			want("true [{vdb fast data 2147483648 }]")
			out = ta.must(t, "domain", "forget", "web", "vdb", "-o", "json")
			if !strings.Contains(out, `"volume": "data"`) {
				t.Errorf("json:\n%s", out)
			}
			want("false []")
			if text := string(stored(t, dom).Bytes()); strings.Contains(text, "volbridge:") {
				t.Errorf("something is left:\n%s", text)
			}
			if after := stored(t, dom).Disks(); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("the disks became %v", after)
			}
			if _, err := ta.try(t, "domain", "forget", "web", "vda"); exitCode(t.Context(), err) != exitNotFound {
				t.Errorf("again: %v", err)
			}
		})
	}
}

// TestForgetNeedsNoConfiguration: the pool may be gone with it.
func TestForgetNeedsNoConfiguration(t *testing.T) {
	conn := connect(t)
	ta := newTestApp(t, "fast")
	t.Setenv("VOLBRIDGE_CONFIG", "/nowhere/volbridge.toml")
	dom, err := conn.DomainDefineXML(moved("<source file='/snap/web.s1'/>"))
	if err != nil {
		t.Fatal(err)
	}
	defer dom.Free()
	defer dom.Undefine()
	ta.must(t, "domain", "forget", "web", "vda")
	if got := metadataOf(t, dom, 0); got != "true [{vdb fast data 2147483648 }]" {
		t.Error(got)
	}
	if _, err := ta.try(t, "domain", "forget", "nobody", "vda"); exitCode(t.Context(), err) != exitNotFound {
		t.Error(err)
	}
}

// TestAdoptLeavesOtherSources: whatever the metadata says, a source that is no
// volume never becomes one, and a path that is one stays as it is written.
func TestAdoptLeavesOtherSources(t *testing.T) {
	for name, c := range map[string]struct{ source, wantErr string }{
		"file":     {"<source file='/snap/web.s1'/>", "no longer on volume fast/web"},
		"our link": {"<source file='/dev/volbridge/fast/web'/>", ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t)
			ta := newTestApp(t, "fast")
			ta.must(t, "volume", "create", "fast/web", "--size", "1GiB")
			ta.must(t, "volume", "create", "fast/data", "--size", "2GiB")
			dom, err := conn.DomainDefineXML(moved(c.source))
			if err != nil {
				t.Fatal(err)
			}
			defer dom.Free()
			defer dom.Undefine()
			before, _ := stored(t, dom).Disk("vda")
			_, err = ta.try(t, "domain", "adopt", "web")
			if c.wantErr == "" && err != nil || c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr)) {
				t.Errorf("error %v, want %q", err, c.wantErr)
			}
			if after, _ := stored(t, dom).Disk("vda"); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("disk vda became %+v", after)
			}
		})
	}
}
