package drbd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/volbridge/volbridge/lab/drbdsim"
	"github.com/volbridge/volbridge/pool"
)

// killedEnv makes the test binary a process that takes one step of the story
// and may be killed in it.
const killedEnv = "VOLBRIDGE_DRBD_KILLED"

type victim struct {
	Dir, Node string
	Grant     *pool.GrantRequest
	Revoke    *pool.RevokeRequest
}

// killed takes the step and returns the exit code.
func killed() int {
	var v victim
	if err := json.Unmarshal([]byte(os.Getenv(killedEnv)), &v); err != nil {
		return 3
	}
	b, err := open("p", settings(drbdsim.Cluster{Dir: v.Dir}, v.Node))
	if err == nil && v.Grant != nil {
		_, err = b.Grant(context.Background(), *v.Grant)
	}
	if err == nil && v.Revoke != nil {
		err = b.Revoke(context.Background(), *v.Revoke)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// victims are the steps of the story as other processes take them.
func victims(dir string) []victim {
	exclusive, coming, handover := request(hostA, web, pool.Exclusive), announced(hostB, web), request(hostB, web, pool.Handover)
	return []victim{
		{Dir: dir, Node: "kvm01", Grant: &exclusive},
		{Dir: dir, Node: "kvm02", Grant: &coming},
		{Dir: dir, Node: "kvm02", Grant: &handover},
		{Dir: dir, Node: "kvm01", Revoke: &pool.RevokeRequest{Volume: "r0", Host: hostA, BootIDs: []string{boot}}},
		{Dir: dir, Node: "kvm02", Revoke: &pool.RevokeRequest{Volume: "r0", Host: hostB, BootIDs: []string{boot}}},
	}
}

// TestKilled: the process dies at each call of a tool, before it took effect
// and after.
func TestKilled(t *testing.T) {
	for n, s := range story {
		for _, mode := range []drbdsim.Mode{drbdsim.Kill, drbdsim.KillAfter} {
			for _, repeat := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/repeat %v", s.name, mode, repeat), func(t *testing.T) {
					t.Parallel()
					for at, hit := 1, true; hit; at++ {
						hit = death(t, n, at, mode, repeat)
					}
				})
			}
		}
	}
}

// death says whether the step called the tools that often.
func death(t *testing.T, n, at int, mode drbdsim.Mode, repeat bool) bool {
	t.Helper()
	p, s := newPair(t), story[n]
	p.before(n)
	p.must(p.Arm(at, mode))
	if !p.dies(victims(p.Dir)[n]) {
		p.is(s.done)
		return false
	}
	then, want := s.undo, s.not
	if repeat {
		then, want = s.do, s.done
	}
	p.must(then(p))
	p.is(want)
	return true
}

// dies runs the step in a process of its own and says whether it was killed.
func (p *pair) dies(v victim) bool {
	p.Helper()
	text, err := json.Marshal(v)
	p.must(err)
	cmd := exec.CommandContext(p.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killedEnv+"="+string(text))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true
	}
	if err != nil {
		p.Fatalf("%v: %s", err, out)
	}
	return false
}
