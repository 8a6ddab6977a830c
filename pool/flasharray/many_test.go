package flasharray

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	lab "github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/pool"
)

// starterEnv makes this program one of many processes that start a guest: its
// value is the settings, as JSON, and the device's path after a space.
const starterEnv = "VOLBRIDGE_FLASHARRAY_STARTER"

// TestManyStartsAtOnce: many processes start guests at the same moment, with
// nothing remembered. One of them logs in and finds out what the array is like;
// each disk costs the calls that it would cost alone.
func TestManyStartsAtOnce(t *testing.T) {
	if text := os.Getenv(starterEnv); text != "" {
		runStarter(t, text)
		return
	}
	const guests, latency = 40, 20 * time.Millisecond
	for _, c := range []struct {
		group string
		calls int
	}{{"", 3}, {"group1", 2}} {
		r := newRig(t, lab.Options{Latency: latency})
		r.settings.HostGroup = c.group
		b := r.open(t)
		var made sync.WaitGroup
		paths, errs := make([]string, guests), make([]error, guests)
		for i := range paths {
			made.Go(func() {
				v, err := b.Create(t.Context(), pool.CreateRequest{Name: fmt.Sprintf("vm%d", i), SizeBytes: mib, CreationID: "mine"})
				paths[i], errs[i] = "/dev/disk/by-id/nvme-eui."+string(v.Identity), err
			})
		}
		made.Wait()
		must(t, errs...)
		must(t, removeSession(r.settings.SessionDir))
		r.ForgetCalls()
		began := time.Now()
		r.startAll(t, paths)
		took := time.Since(began)
		logins := r.Logins()
		calls := len(r.calls())
		const once = 3 // host, portals, subsystem
		if logins != 1 || calls != guests*c.calls+once {
			t.Errorf("host group %q: %d logins and %d calls for %d guests, want 1 and %d", c.group, logins, calls, guests, guests*c.calls+once)
		}
		t.Logf("host group %q: %d guests in %s; the floor of one guest is %s", c.group, guests, took.Round(time.Millisecond), time.Duration(c.calls)*latency)
	}
}

// removeSession lets nobody be logged in, and keeps what is remembered of
// volumes.
func removeSession(dir string) error {
	sessions, err := filepath.Glob(filepath.Join(dir, "session-*.json"))
	for _, s := range sessions {
		err = os.Remove(s)
	}
	return err
}

func (r rig) startAll(t *testing.T, paths []string) {
	t.Helper()
	settings, err := json.Marshal(r.settings)
	must(t, err)
	var all sync.WaitGroup
	for _, path := range paths {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestManyStartsAtOnce$")
		c.Env = append(os.Environ(), starterEnv+"="+string(settings)+" "+path)
		all.Go(func() {
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", path, err, out)
			}
		})
	}
	all.Wait()
}

func runStarter(t *testing.T, text string) {
	settings, path, _ := strings.Cut(text, " /")
	s := newSettings()
	must(t, json.Unmarshal([]byte(settings), s))
	b, err := open("flash", s, testLog())
	must(t, err)
	defer b.array.Close()
	start(t, b, "/"+path, kvm01)
}

// No secret shows in what is written, remembered or said.
func TestSecretsDoNotShow(t *testing.T) {
	var logged bytes.Buffer
	logger := logrus.New()
	logger.SetOutput(&logged)
	logger.SetLevel(logrus.TraceLevel)
	r := newRig(t, lab.Options{})
	b := r.open(t)
	b.log = logrus.NewEntry(logger)
	create(t, b, "vm1")
	var said []string
	for _, kind := range lab.FaultKinds() {
		r.FailFrom(1, lab.Fault{Kind: kind})
		_, err := b.Grant(t.Context(), request("vm1", kvm01, dom1, pool.Exclusive))
		r.ClearFaults()
		said = append(said, fmt.Sprint(err))
	}
	said = append(said, logged.String(), fmt.Sprintf("%+v %#v", b.settings, b.place))
	for _, v := range r.Volumes() {
		said = append(said, fmt.Sprint(v))
	}
	must(t, filepath.WalkDir(r.settings.SessionDir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), "session-") && strings.HasSuffix(e.Name(), ".json") {
			return err // the session's own file holds its token, for root alone
		}
		text, err := os.ReadFile(path)
		said = append(said, string(text))
		return err
	}))
	for _, text := range said {
		if strings.Contains(text, lab.TestToken) {
			t.Errorf("the token shows in: %.300s", text)
		}
	}
}
