package doctor

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// buildHook builds the hook as another release would.
func buildHook(t *testing.T, version string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), version)
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -X main.version="+version, "-o", file, "../cmd/volbridge-hook")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return file
}

// TestSecondHook: a second hook is known by what it is and not by its name, and
// what the remedy says, to the letter, leaves one hook and loses no file.
func TestSecondHook(t *testing.T) {
	hook, other := buildHook(t, "v1.0.0"), buildHook(t, "v1.1.0")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const install = `cp "$HOOK" 50-volbridge; `
	for name, c := range map[string]struct {
		plant  string // in qemu.d
		path   string // of the script, beside 50-volbridge
		remedy string // of its commands the first word; "": nothing is found
	}{
		"a script that says volbridge":   {install + `printf '#!/bin/sh\n: >%s/ran\n' "$PWD" >60-tell-volbridge-log; chmod 755 60*`, "60-tell-volbridge-log", ""},
		"a script that talks like it":    {install + `printf '#!/bin/sh\n: >%s/ran; echo volbridge-hook v1: x\n' "$PWD" >60-volbridge; chmod 755 60*`, "60-volbridge", ""},
		"another program of that name":   {install + `cp /bin/true 60-volbridge`, "60-volbridge", ""},
		"another program in Go":          {install + `cp "$SELF" 60-volbridge`, "60-volbridge", ""},
		"a copy that is not executable":  {install + `cp "$HOOK" 70-again; chmod 644 70-again`, "70-again", ""},
		"a copy":                         {install + `cp "$HOOK" 70-again`, "70-again", "chmod"},
		"a copy whose name needs quotes": {install + `cp "$HOOK" "70 it's"`, "70 it's", "chmod"},
		"of another build":               {install + `cp "$OTHER" 70-again`, "70-again", "chmod"},
		"in the place of the first":      {install + `cp "$OTHER" ../qemu`, "../qemu", "chmod"},
		"a link to it":                   {install + `ln -s 50-volbridge 70-again`, "70-again", "rm"},
		"a link to where it leads":       {`cp "$HOOK" ../../hook; ln -s ../../hook 50-volbridge; ln -s ../../hook 70-again`, "70-again", "rm"},
		"a link to another build":        {install + `cp "$OTHER" ../../old; ln -s ../../old 70-again`, "70-again", "rm"},
		"a second name of its file":      {install + `ln 50-volbridge 70-again`, "70-again", "rm"},
		"the file that it leads to":      {`cp "$HOOK" 70-again; ln -s 70-again 50-volbridge`, "70-again", "mv"},
		"the file, in the first place":   {`cp "$HOOK" ../qemu; ln -s ../qemu 50-volbridge`, "../qemu", "mv"},
		"a link by which it leads there": {`cp "$HOOK" ../../hook; ln -s ../../hook 70-again; ln -s 70-again 50-volbridge`, "70-again", "ln"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHost(t, nil)
			dir := h.Path(scriptsDir)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			sh := func(script string) string {
				t.Helper()
				cmd := exec.Command("sh", "-ec", script)
				cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOOK="+hook, "OTHER="+other, "SELF="+self)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%s: %v: %s", script, err, out)
				}
				return string(out)
			}
			sh(c.plant)
			e, path := &Env{System: runs{h}}, filepath.Join(scriptsDir, c.path)
			found := seconds(e, path)
			if c.remedy == "" {
				if len(found) > 0 {
					t.Errorf("%+v", found)
				}
				if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
					t.Error("the doctor ran it")
				}
				return
			}
			if len(found) != 1 || len(found[0].Commands) == 0 || !strings.HasPrefix(found[0].Commands[0], c.remedy+" ") {
				t.Fatalf("%+v, want the remedy %q", found, c.remedy)
			}
			for _, command := range found[0].Commands {
				sh(strings.ReplaceAll(command, "/etc/libvirt", h.Path("/etc/libvirt")))
			}
			if again := seconds(e, path); len(again) > 0 {
				t.Errorf("after %q: %+v", found[0].Commands, again)
			}
			if said := sh("./50-volbridge --version"); !strings.HasPrefix(said, "volbridge-hook v1.0.0: ") {
				t.Errorf("after %q the hook says %q", found[0].Commands, said)
			}
			if kept := sh("find ../.. -type f | wc -l"); c.remedy == "chmod" && kept != "2\n" {
				t.Errorf("%q lost a file", found[0].Commands)
			}
		})
	}
}

// runs is a machine in a folder whose programs can be run.
type runs struct{ fakeHost }

func (r runs) Exec(ctx context.Context, name string, args ...string) (string, error) {
	return r.Machine.Exec(ctx, name, args...)
}

// seconds are the findings of a second hook; the files of a test need not be root's.
func seconds(e *Env, path string) (found []Finding) {
	for _, f := range e.script(path) {
		if strings.Contains(f.Seen, "second hook") {
			found = append(found, f)
		}
	}
	return found
}
