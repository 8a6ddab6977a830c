package main

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	lab "github.com/volbridge/volbridge/lab/linstor"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/linstor"
)

// clusterApp is a program with the pool drbd on a cluster of its own.
func clusterApp(t *testing.T) (*testApp, *lab.Controller) {
	t.Helper()
	c := lab.New(lab.Options{})
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	for _, n := range []string{"store1", "store2"} {
		c.AddNode(n, lab.Pool{Name: "thin", Kind: "LVM_THIN", TotalKiB: 1 << 30})
	}
	c.AddGroup(lab.Group{Name: "vms"})
	ta := newTestApp(t, "fast")
	file := os.Getenv("VOLBRIDGE_CONFIG")
	dir := filepath.Dir(file)
	text := fmt.Sprintf("state_dir = %q\nrun_dir = %q\nhost_name = \"kvm01\"\nhost_id = \"id1\"\n[pool.drbd]\ntype = \"linstor\"\ncontrollers = [%q]\nresource_group = \"vms\"\nprefix = \"vb-\"\n",
		filepath.Join(dir, "state"), filepath.Join(dir, "run"), s.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ta.pool = "drbd"
	return ta, c
}

// unfinishedWeb are the keys of the notes that say that drbd/web is not whole.
func unfinishedWeb(c *lab.Controller) (keys []string) {
	d, _ := c.Definition("vb-web")
	for k := range d.Props {
		if strings.HasPrefix(k, "Aux/volbridge/unfinished.") {
			keys = append(keys, k)
		}
	}
	return keys
}

// remedy is the command in backticks that a message names.
func remedy(t *testing.T, message string) []string {
	t.Helper()
	m := inBackticks.FindStringSubmatch(message)
	if m == nil {
		t.Fatalf("no command in %q", message)
	}
	return strings.Fields(m[1])[1:]
}

// A creation dies before each of its calls. Where that leaves a definition which
// is no volume yet, whoever meets it says how to get rid of it, and that does.
func TestDeleteAnUnfinishedCreation(t *testing.T) {
	met := 0
	for n := 1; ; n++ {
		ta, c := clusterApp(t)
		c.FailFrom(n, lab.Fault{Kind: lab.LostBefore})
		_, err := ta.try(t, "volume", "create", "drbd/web", "--size", "1MiB")
		c.ClearFaults()
		if err == nil {
			break
		}
		if len(unfinishedWeb(c)) == 0 {
			continue
		}
		met++
		messages := map[string]string{}
		_, err = ta.try(t, "volume", "info", "drbd/web")
		if exitCode(t.Context(), err) != exitNotFound {
			t.Errorf("before call %d: info: code %d, %v", n, exitCode(t.Context(), err), err)
		}
		messages["info"] = err.Error()
		_, err = ta.try(t, "volume", "create", "drbd/web", "--size", "1MiB")
		if !errors.Is(err, pool.ErrExists) {
			t.Fatalf("before call %d: create: %v", n, err)
		}
		messages["create"] = err.Error()
		ta.must(t, "volume", "list", "drbd")
		messages["list"] = ta.stderr.String()
		for who, message := range messages {
			if do := remedy(t, message); !slices.Equal(do, []string{"volume", "delete", "drbd/web"}) {
				t.Errorf("before call %d: %s says to do %v", n, who, do)
			}
		}
		do := remedy(t, messages["create"])
		if _, err := ta.try(t, do...); exitCode(t.Context(), err) != exitRefused || len(unfinishedWeb(c)) == 0 {
			t.Errorf("before call %d: without --yes: %v", n, err)
		}
		ta.must(t, append(do, "--yes")...)
		if said := ta.stderr.String(); !strings.Contains(said, "a command makes it just now, or did not end") {
			t.Errorf("before call %d: said %q", n, said)
		}
		if left := c.Definitions(); len(left) > 0 {
			t.Fatalf("before call %d: left %+v", n, left)
		}
		ta.must(t, "volume", "create", "drbd/web", "--size", "1MiB")
	}
	if met < 3 {
		t.Errorf("only %d creations left something: does the test still look at the right calls?", met)
	}
}

// An administrator is asked, and told of what size only where that is known.
func TestDeleteAsksAboutAnUnfinishedCreation(t *testing.T) {
	for n, size := range map[int]string{4: "", 5: " (1MiB)"} { // before and after the volume definition is made
		ta, c := clusterApp(t)
		c.FailFrom(n, lab.Fault{Kind: lab.LostBefore})
		if _, err := ta.try(t, "volume", "create", "drbd/web", "--size", "1MiB"); !errors.Is(err, pool.ErrUnreachable) {
			t.Fatal(err)
		}
		c.ClearFaults()
		if out := ta.must(t, "volume", "delete", "drbd/web", "--dry-run"); out != "would delete volume drbd/web with its data"+size+"\n" {
			t.Errorf("dry run: %q", out)
		}
		ta.inTerminal, ta.in = true, strings.NewReader("yes\n")
		ta.must(t, "volume", "delete", "drbd/web")
		if said := ta.stderr.String(); !strings.Contains(said, "is not finished") || !strings.Contains(said, "Delete volume drbd/web"+size+" and all its data") {
			t.Errorf("said %q", said)
		}
		if left := c.Definitions(); len(left) > 0 {
			t.Errorf("left %+v", left)
		}
	}
}

// The command that makes the volume still runs, and ends while the question is
// open: by now it is a volume, and nobody was asked about that.
func TestUnfinishedCreationEndsWhileTheQuestionIsOpen(t *testing.T) {
	ta, c := clusterApp(t)
	settings := linstor.Driver.Settings().(*linstor.Settings)
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	settings.Controllers, settings.ResourceGroup, settings.Prefix = []string{s.URL}, "vms", "vb-"
	b, err := linstor.Driver.Open("drbd", settings, logrus.NewEntry(logrus.New()))
	if err != nil {
		t.Fatal(err)
	}
	create := func(ctx context.Context) error {
		_, err := b.(pool.Provisioner).Create(ctx, pool.CreateRequest{Name: "web", SizeBytes: mebi, CreationID: "running"})
		return err
	}
	c.FailFrom(6, lab.Fault{Kind: lab.LostBefore})
	if err := create(t.Context()); !errors.Is(err, pool.ErrUnreachable) {
		t.Fatal(err)
	}
	c.ClearFaults()
	ta.inTerminal = true
	ta.in = &answerAfter{answer: strings.NewReader("yes\n"), meanwhile: func() {
		if err := create(t.Context()); err != nil {
			t.Error(err)
		}
	}}
	_, err = ta.try(t, "volume", "delete", "drbd/web")
	if exitCode(t.Context(), err) != exitRefused || !strings.Contains(err.Error(), "was finished meanwhile") {
		t.Errorf("code %d: %v", exitCode(t.Context(), err), err)
	}
	ta.must(t, "volume", "info", "drbd/web")
}

// A volume that an administrator made is deleted, and another made of its name,
// while the question is open: that one stays.
func TestDeleteOnlyTheDefinitionThatWasShown(t *testing.T) {
	ta, c := clusterApp(t)
	byHand := func(sizeKiB int64) {
		if err := c.AddVolume("vms", "vb-web", sizeKiB, "store1"); err != nil {
			t.Error(err)
		}
	}
	byHand(1024)
	ta.inTerminal = true
	ta.in = &answerAfter{answer: strings.NewReader("yes\n"), meanwhile: func() {
		if err := c.RemoveVolume("vb-web"); err != nil {
			t.Error(err)
		}
		byHand(2048)
	}}
	_, err := ta.try(t, "volume", "delete", "drbd/web")
	if !errors.Is(err, pool.ErrNotOurs) || exitCode(t.Context(), err) != exitRefused || !strings.Contains(err.Error(), "another volume's by now") {
		t.Errorf("code %d: %v", exitCode(t.Context(), err), err)
	}
	if d, ok := c.Definition("vb-web"); !ok || d.SizeKiB != 2048 {
		t.Errorf("the cluster has %+v, %t", d, ok)
	}
	ta.must(t, "volume", "delete", "drbd/web", "--yes")
}

// What an import writes over is the definition that it looked at first.
func TestImportKnowsADefinitionOfTheSameName(t *testing.T) {
	ta, c := clusterApp(t)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(c.AddVolume("vms", "vb-web", 1024, "store1"))
	s, err := ta.open()
	check(err)
	b, err := s.backend(volumeRef{"drbd", "web"})
	check(err)
	seen, err := b.Lookup(t.Context(), "web")
	check(err)
	check(unchanged(t.Context(), b, seen))
	check(errors.Join(c.RemoveVolume("vb-web"), c.AddVolume("vms", "vb-web", 1024, "store1")))
	if err := unchanged(t.Context(), b, seen); err == nil || !strings.Contains(err.Error(), "made anew") {
		t.Errorf("%v", err)
	}
}
