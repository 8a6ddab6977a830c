package main

import "github.com/coreos/go-systemd/v22/login1"

// inhibit asks systemd-logind not to shut the host down or suspend it while
// work goes on. A host without logind has nobody to ask.
func (a *app) inhibit(why string) (release func()) {
	nothing := func() {}
	conn, err := login1.New()
	if err != nil {
		a.log().WithError(err).Debug("no logind: nothing keeps the host from shutting down meanwhile")
		return nothing
	}
	lock, err := conn.Inhibit("shutdown:sleep", "volbridge", why, "block")
	if err != nil {
		conn.Close()
		a.log().WithError(err).Warn("logind refused: nothing keeps the host from shutting down meanwhile")
		return nothing
	}
	return func() {
		lock.Close()
		conn.Close()
	}
}
