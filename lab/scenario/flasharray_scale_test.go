package scenario

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/flasharray"
)

const (
	domains      = 200
	arrayLatency = 20 * time.Millisecond
	hookProgram  = "/etc/libvirt/hooks/qemu.d/50-volbridge"
)

// Two hundred guests start at once: one login, and at most three calls for each
// disk that this host has heard of; then all stop at once, and nothing is left.
//
// A host group has every device already, so no call about connections is made.
// The two calls that remain write and read the holder on the array: a host
// group keeps no host out, so without them a guest could run on two hosts.
func TestManyStartsAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		group      string
		cold, warm []string // calls for each disk
		ended      int      // calls for each disk at most
	}{
		"per host": {"",
			[]string{"GET /volumes", "GET /volumes/tags", "POST /connections", "PUT /volumes/tags/batch"},
			[]string{"GET /volumes/tags", "POST /connections", "PUT /volumes/tags/batch"},
			4,
		},
		"host group": {"kvm",
			[]string{"GET /volumes", "GET /volumes/tags", "POST /connections", "PUT /volumes/tags/batch"},
			[]string{"GET /volumes/tags", "PUT /volumes/tags/batch"},
			3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStorm(t, c.group)
			host := []string{"GET /hosts", "GET /network-interfaces", "GET /ports"}
			login := []string{"GET /api/api_version", "POST /login"}

			s.run("prepare", "begin", "first start since the boot").wants(append(login, host...), c.cold)
			s.allRun()

			s.age()
			s.run("release", "end", "stop").atMost(c.ended * domains)
			s.allStopped(c.group)

			s.endSession()
			s.run("prepare", "begin", "start").wants(login, c.warm)
			s.allRun()

			// Guests that stop soon after their start make the host doubt what it
			// remembers, so it asks more.
			s.run("release", "end", "stop at once").atMost(2 * c.ended * domains)
			s.allStopped(c.group)
		})
	}
}

// storm runs the hook for many domains at once.
type storm struct {
	*arrayCluster
	dir string
}

func newStorm(t *testing.T, group string) *storm {
	// What is counted here is calls. How long two processors take over two
	// hundred processes is printed, and is not what a test can fail by.
	o := arrayOptions{group: group, alone: true, timeouts: "prepare = \"3m\"\nrelease = \"3m\"\nlock = \"3m\"\n"}
	o.first.Latency = arrayLatency
	if group != "" {
		o.lines = []string{fmt.Sprintf("hostgroup = %q", group)}
	}
	c := upWithArrays(t, o)
	s := &storm{c, filepath.Join(c.lab.SharedDir(), "storm")}
	c.must(os.Mkdir(s.dir, 0o755))
	c.flash.AddVolumes("vm", domains, 2*mib)
	for i := range domains {
		name := fmt.Sprintf("vm%d", i+1)
		v, _ := c.flash.Volume(name)
		c.must(os.WriteFile(v.File, nil, 0o600))
		c.must(os.Truncate(v.File, v.SizeBytes))
		xml := c.xml(&guest{name: name, uuid: newUUID()}, lab.BlockDisk("vda", devicePath(v)))
		c.must(os.WriteFile(filepath.Join(s.dir, name+".xml"), []byte(xml), 0o600))
	}
	c.must(os.WriteFile(filepath.Join(s.dir, "storm"), []byte(stormScript), 0o755))
	return s
}

// stormScript runs the hook for all domains; they wait at a pipe until the last
// of them is there. Beside each output it leaves the exit code, whose file says
// when the hook was done; at last the time of all processors.
const stormScript = `#!/bin/sh
cd "${0%/*}" && rm -f gate *.out *.err *.exit && mkfifo gate || exit 1
n=0
while [ $n -lt $1 ]; do
	n=$((n + 1))
	{
		: <gate
		"$4" vm$n "$2" "$3" - <vm$n.xml >vm$n.out 2>vm$n.err
		echo $? >vm$n.exit
	} &
done
: >begun
exec 9>gate
wait
times
`

// result is what came of one storm.
type result struct {
	*storm
	what  string
	calls map[string]int
}

func (s *storm) run(op, subOp, what string) result {
	s.Helper()
	s.flash.ForgetCalls()
	out := s.on(s.a, filepath.Join(s.dir, "storm"), fmt.Sprint(domains), op, subOp, hookProgram)
	r := result{storm: s, what: what, calls: map[string]int{}}
	for _, c := range s.flash.Calls() {
		r.calls[c.Method+" "+c.Path]++
	}
	r.print(out)
	r.allDone()
	return r
}

// print compares the times with what they cannot be below: the calls of one
// start follow each other, and each process is a client of its own, so that all
// together could be as fast as one; the other floor is the work of the
// processors.
func (r result) print(times string) {
	r.Helper()
	begun := r.modified("begun")
	var took []time.Duration
	for i := range domains {
		took = append(took, r.modified(fmt.Sprintf("vm%d.exit", i+1)).Sub(begun))
	}
	slices.Sort(took)
	total, lines := 0, []string{}
	for _, call := range slices.Sorted(maps.Keys(r.calls)) {
		total += r.calls[call]
		lines = append(lines, fmt.Sprintf("%d %s", r.calls[call], call))
	}
	floor := time.Duration(total) * arrayLatency / domains
	r.Logf("%s of %d domains: all %v, median %v, first %v; floor: %.2f calls for each × %v = %v; processors: %s on %d\n%d calls: %s",
		r.what, domains, round(took[len(took)-1]), round(took[len(took)/2]), round(took[0]),
		float64(total)/domains, arrayLatency, floor, strings.Fields(times)[2:], runtime.NumCPU(), total, strings.Join(lines, ", "))
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

func (s *storm) modified(name string) time.Time {
	s.Helper()
	info, err := os.Stat(filepath.Join(s.dir, name))
	s.must(err)
	return info.ModTime()
}

// allDone fails unless every hook succeeded.
func (r result) allDone() {
	r.Helper()
	failed := 0
	for i := range domains {
		exit, said := r.read(i, "exit"), r.read(i, "err")
		if exit == "0\n" && said == "" {
			continue
		}
		if failed++; failed <= 5 {
			r.Errorf("%s of vm%d: exit code %s: %s", r.what, i+1, strings.TrimSpace(exit), said)
		}
	}
	if failed > 0 {
		r.Errorf("%s: %d of %d hooks failed or had something to say", r.what, failed, domains)
	}
}

func (s *storm) read(i int, kind string) string {
	s.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, fmt.Sprintf("vm%d.%s", i+1, kind)))
	s.must(err)
	return string(data)
}

// wants fails unless the array was called so: once each, and for each disk.
func (r result) wants(once, each []string) {
	r.Helper()
	want := map[string]int{}
	for _, call := range once {
		want[call]++
	}
	for _, call := range each {
		want[call] += domains
	}
	if !maps.Equal(r.calls, want) {
		r.Errorf("%s: calls %v, want %v", r.what, r.calls, want)
	}
}

// atMost fails if there were more calls, or a log-in.
func (r result) atMost(n int) {
	r.Helper()
	total := 0
	for _, calls := range r.calls {
		total += calls
	}
	if total > n || r.calls["POST /login"] > 0 {
		r.Errorf("%s: %d calls, want at most %d, and no log-in: %v", r.what, total, n, r.calls)
	}
}

// allRun fails unless the host has every device.
func (s *storm) allRun() {
	s.Helper()
	if devices := s.glob(s.a.Path("/dev/disk/by-id"), "nvme-eui.*"); len(devices) != domains {
		s.Errorf("%d devices, want %d", len(devices), domains)
	}
	if n := len(s.flash.Connections()); n != domains {
		s.Errorf("%d connections, want %d", n, domains)
	}
	if n := len(s.claims()); n != domains {
		s.Errorf("%d holders, want %d", n, domains)
	}
}

func (s *storm) allStopped(group string) {
	s.Helper()
	if group == "" {
		s.clean()
		return
	}
	if claims := s.claims(); len(claims) > 0 {
		s.Errorf("holders left: %v", claims)
	}
	if n := len(s.flash.Connections()); n != domains {
		s.Errorf("%d connections to the host group, want %d", n, domains)
	}
	if found := s.findings(s.a); len(found) > 0 {
		s.Errorf("recover finds %v", found)
	}
}

// claim is a tag that names a holder.
type claim struct{ volume, key, value string }

func (s *storm) claims() (list []claim) {
	for _, v := range s.flash.Volumes() {
		for tag, value := range v.Tags {
			if key, is := strings.CutPrefix(tag, "volbridge/"); is && strings.HasPrefix(key, "h.") {
				list = append(list, claim{v.Name, key, value})
			}
		}
	}
	return list
}

// endSession takes the shared session away from the host.
func (s *storm) endSession() {
	s.Helper()
	files := s.glob(s.a.Path("/run/volbridge"), "session-*.json")
	if len(files) == 0 {
		s.Error("the host has no session file")
	}
	for _, f := range files {
		s.must(os.Remove(f))
	}
}

// age makes all grants an hour older, as if the guests had run for so long.
func (s *storm) age() {
	s.Helper()
	session := s.administer(http.MethodPost, "/login", "", "Api-Token", flasharray.TestToken).Get("X-Auth-Token")
	var all sync.WaitGroup
	for _, c := range s.claims() {
		fields := strings.Fields(c.value)
		since, err := strconv.ParseInt(fields[2], 10, 64)
		s.must(err)
		fields[2] = fmt.Sprint(since - 3600)
		body := fmt.Sprintf(`[{"namespace":"volbridge","key":%q,"value":%q,"copyable":false}]`, c.key, strings.Join(fields, " "))
		all.Go(func() {
			s.administer(http.MethodPut, "/volumes/tags/batch?resource_names="+url.QueryEscape(c.volume), body, "X-Auth-Token", session)
		})
	}
	all.Wait()
}

// administer calls the array as its administrator does.
func (s *storm) administer(method, path, body, header, value string) http.Header {
	q := httptest.NewRequestWithContext(s.ctx, method, "/api/2.36"+path, bytes.NewReader([]byte(body)))
	q.Header.Set(header, value)
	w := httptest.NewRecorder()
	s.flash.ServeHTTP(w, q)
	if w.Code != http.StatusOK {
		s.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Header()
}

// What a volume costs does not grow with the volumes that the array has.
func TestHundredThousandVolumes(t *testing.T) {
	c := upWithArrays(t, arrayOptions{alone: true})
	c.flash.AddVolumes("few", 10, mib)
	c.life("first") // learns what the array is
	few := c.life("web1")
	c.flash.AddVolumes("many", 100_000, mib)
	many := c.life("web2")
	for step, calls := range few {
		t.Logf("%-16s %d calls with ten volumes, %d with a hundred thousand: %s", step, len(calls), len(many[step]), strings.Join(calls, ", "))
		if !slices.Equal(calls, many[step]) {
			t.Errorf("%s: calls with a hundred thousand volumes: %v", step, many[step])
		}
	}
	if len(few) != len(many) {
		t.Errorf("%d steps, then %d", len(few), len(many))
	}
	c.clean()
}

// life creates a volume, looks it up, starts and stops a domain with it and
// deletes it, and returns the calls of each step.
func (c *arrayCluster) life(name string) map[string][]string {
	c.Helper()
	all := map[string][]string{}
	step := func(what string, do func()) {
		c.flash.ForgetCalls()
		started := time.Now()
		do()
		c.Logf("%s of %s took %v", what, name, round(time.Since(started)))
		for _, call := range c.flash.Calls() {
			all[what] = append(all[what], call.Method+" "+call.Path)
		}
		slices.Sort(all[what]) // some are made side by side
	}
	step("create", func() { c.on(c.a, "volbridge", "volume", "create", "flash/"+name, "--size", "2MiB") })
	step("look up", func() { c.on(c.a, "volbridge", "volume", "info", "flash/"+name) })
	v, _ := c.flash.Volume(name)
	xml := c.xml(&guest{name: name, uuid: newUUID()}, lab.BlockDisk("vda", devicePath(v)))
	step("prepare", func() { c.hook(c.a, xml, name, "prepare", "begin") })
	c.seenBy(c.flash, name, c.a)
	step("release", func() { c.hook(c.a, xml, name, "release", "end") })
	step("delete", func() { c.on(c.a, "volbridge", "volume", "delete", "--yes", "flash/"+name) })
	return all
}

// hook calls the hook as libvirt does; it must succeed and say nothing.
func (c *arrayCluster) hook(h *lab.Host, xml, domain, op, subOp string) {
	c.Helper()
	cmd := h.Command(c.ctx, hookProgram, domain, op, subOp, "-")
	cmd.Stdin = strings.NewReader(xml)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		c.Fatalf("%s of %s: %v: %s", op, domain, err, out)
	}
}
