package main

import "fmt"

const hookText = `libvirt calls volbridge-hook when a domain of this host starts, stops, arrives by
migration or is restored. For each managed disk of the domain the hook then grants
this host the volume, attaches its device and sees that it is the right one, or
releases the device and returns the grant. A domain without a managed disk costs the
start of a process and nothing else: no configuration is read.

An error ends the start or the arrival; what libvirt then shows says what to do. A
stop never fails: what could not be returned is recorded, and volbridge-recover.service
is started for it. When libvirt's daemon comes back and reports the domains that still
run, the hook only takes notes and never fails, because a failure there would end the
guest.

While a domain starts or stops, libvirt answers nobody else on this host. So the hook
has deadlines; see [timeouts] in volbridge.toml(5).

It is a program for libvirt, not for people. To see what it would do to a domain's XML,
use 'volbridge domain rewrite'.`

const hookFound = `libvirt looks for hooks when its daemon starts and when it is reloaded. The package
reloads a running daemon when this is the first hook of the host; without a package,
do it yourself:

  systemctl reload libvirtd

Guests run on meanwhile.`

// hook is volbridge-hook(8).
func (m manual) hook() manPage {
	r := m.page("volbridge-hook", "8", "libvirt's qemu hook for managed disks")
	r.section("Synopsis")
	fmt.Fprintf(r, "%s %s < %s\n", bold("/etc/libvirt/hooks/qemu.d/50-volbridge"), italic("DOMAIN OPERATION SUB-OPERATION EXTRA"), italic("DOMAIN.xml"))
	r.section("Description")
	r.text(hookText)
	r.section("How libvirt finds it")
	r.text(hookFound)
	r.section("Exit status")
	r.text("0 if it is done, or if there was nothing to do; anything else ends the operation that libvirt asked for.")
	r.section("Diagnostics")
	r.text("The hook logs to the journal:\n\n  journalctl -t volbridge-hook")
	m.files(r)
	r.section("See also")
	fmt.Fprintf(r, "%s(1), %s(1), %s(5), %s(8)\n", bold("volbridge"), bold("volbridge-recover"), bold("volbridge.toml"), bold("libvirtd"))
	return manPage{"volbridge-hook", "8", r.String()}
}
