package main

import (
	"testing"
	"time"
)

func TestWindows(t *testing.T) {
	source, err := parseTrace(`# tracer: nop
     drbdsetup-84-77    [000] .....  1700000009.500000: drbd_net_options: (drbd_adm_net_opts+0x0/0x4e0 [drbd])
 qemu-system-x86-66    [000] .....  1700000008.250000: sched_process_exit: comm=qemu-system-x86 pid=66 prio=120
`)
	if err != nil {
		t.Fatal(err)
	}
	target, err := parseTrace(`     drbdsetup-84-12    [000] .....  1700000001.000000: drbd_net_options: (drbd_adm_net_opts+0x0/0x4e0 [drbd])
 rpc-libvirtd-50    [000] .....  1700000003.000000: sched_process_exec: filename=/usr/bin/qemu-system-x86_64 pid=50 old_pid=50
`)
	if err != nil {
		t.Fatal(err)
	}
	w, err := windowsOf(source, target)
	if err != nil || w.allowed() != 8500*time.Millisecond || w.both() != 5250*time.Millisecond {
		t.Errorf("%+v, %v", w, err)
	}
	if _, err := windowsOf(source, nil); err == nil {
		t.Error("a target without a QEMU is measured")
	}
	if _, err := parseTrace("something else\n"); err == nil {
		t.Error("a strange line is not an error")
	}
}
