package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/volbridge/volbridge/hooks"
	"github.com/volbridge/volbridge/internal/config"
)

const (
	defaultConfig = config.DefaultPath
	hooksDir      = "/etc/libvirt/hooks"
	scriptsDir    = hooksDir + "/qemu.d"
	hookPath      = scriptsDir + "/50-volbridge"
	// shippedHook is where packages put the program that hookPath leads to.
	shippedHook = "/usr/libexec/volbridge/volbridge-hook"
)

func checkHook(ctx context.Context, e *Env) []Finding { return e.hookFindings(ctx) }

func (e *Env) hookFindings(ctx context.Context) []Finding {
	defer waiting(ctx, hookPath+" --version")()
	all, err := once(ctx, e, "hook", askTime, func(ctx context.Context) ([]Finding, error) { return e.lookAtHook(ctx), nil })
	if err != nil {
		return []Finding{{Level: Fail, Seen: fmt.Sprintf("%s --version: %v", hookPath, err), Remedy: "install volbridge again"}}
	}
	return all
}

func (e *Env) lookAtHook(ctx context.Context) []Finding {
	info, err := os.Stat(e.Path(hookPath))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{e.installHook(ctx, hookPath+" is not there: libvirt starts guests without their disks")}
	case err != nil:
		return []Finding{{Level: Fail, Seen: err.Error(), Remedy: "run the doctor as root"}}
	case !info.Mode().IsRegular():
		return []Finding{e.installHook(ctx, hookPath+" is no program")}
	case info.Mode().Perm()&0o111 == 0:
		return []Finding{{Level: Fail, Seen: fmt.Sprintf("%s is not executable (mode %04o), so libvirt does not call it", hookPath, info.Mode().Perm()),
			Remedy: "make it executable", Commands: []string{"chmod 755 " + hookPath}}}
	}
	if wrong := e.private(hookPath, 0o022, Fail); wrong != nil {
		return wrong
	}
	version, err := e.buildOf(ctx, hookPath)
	switch {
	case err != nil:
		return []Finding{e.installHook(ctx, fmt.Sprintf("%s does not run: %v", hookPath, err))}
	case version != e.Build:
		return []Finding{e.installHook(ctx, fmt.Sprintf("%s is build %s, this command is build %s", hookPath, version, e.Build))}
	}
	return nil
}

// buildOf asks a hook for its build.
func (e *Env) buildOf(ctx context.Context, program string) (string, error) {
	text, err := e.Exec(ctx, e.Path(program), "--version")
	if err != nil {
		return "", err
	}
	return parseBuild(text)
}

// parseBuild reads "volbridge-hook BUILD: …".
func parseBuild(text string) (string, error) {
	rest, ours := strings.CutPrefix(text, "volbridge-hook ")
	build, _, ended := strings.Cut(rest, ": ")
	if !ours || !ended || build == "" || strings.ContainsAny(build, " \n") {
		return "", fmt.Errorf("it is no hook of volbridge: it says %q", oneLine(text))
	}
	return build, nil
}

// installHook finds a hook to install; the one of a package is right if it is of
// this build.
func (e *Env) installHook(ctx context.Context, seen string) Finding {
	f := Finding{Level: Fail, Seen: seen, Remedy: "install the package volbridge again, or the hook of this build as " + hookPath}
	if build, err := e.buildOf(ctx, shippedHook); err == nil && build == e.Build {
		f.Remedy = "let the link lead to the hook that is installed"
		f.Commands = []string{"mkdir -p " + scriptsDir, "ln -sfn " + shippedHook + " " + hookPath}
	}
	return f
}

// ask asks the local hook who it is, once.
func (e *Env) ask(ctx context.Context) (hooks.ProbeAnswer, error) {
	defer waiting(ctx, "libvirt's daemon, which calls the hook")()
	return once(ctx, e, "ask", askTime, func(ctx context.Context) (hooks.ProbeAnswer, error) {
		l, err := e.libvirt(ctx)
		if err != nil {
			return hooks.ProbeAnswer{}, err
		}
		return l.AskHost(ctx)
	})
}

func checkHookDaemon(ctx context.Context, e *Env) []Finding {
	if len(e.hookFindings(ctx)) > 0 {
		return skip("see hook")
	}
	if _, err := e.libvirt(ctx); err != nil {
		return skip("see libvirt")
	}
	answer, err := e.ask(ctx)
	switch {
	case err == nil:
		return e.sameHost(answer)
	case !e.NoAnswer(err) && len(e.missingQEMU()) > 0:
		return skip("see qemu: no guest can start")
	case !e.NoAnswer(err):
		return []Finding{{Level: Fail, Seen: "libvirt's daemon cannot be asked whether it calls the hook: " + oneLine(err.Error()), Remedy: "see what the daemon says: journalctl -u " + e.daemonUnit()}}
	case failedScript(err) != "":
		return skip("see hook-scripts")
	}
	f := Finding{Level: Fail, Seen: "the hook is installed, but libvirt's daemon does not call it: it looks for hooks when it starts, and there was none then (" + oneLine(err.Error()) + ")",
		Remedy: "let the daemon look again; running guests go on"}
	if reload := e.reloadDaemon(); reload != "" {
		f.Commands = []string{reload}
	}
	return []Finding{f}
}

// sameHost: a daemon in another container, or on another machine, would call
// another host's hook.
func (e *Env) sameHost(a hooks.ProbeAnswer) []Finding {
	facts, ok := hooks.ParseFacts(a.Facts)
	if !ok || e.HostErr != nil || facts.ID == hooks.Digest(e.Host.ID) {
		return nil
	}
	return []Finding{{Level: Fail, Seen: fmt.Sprintf("the hook that libvirt's daemon calls is of a host %s with another id than this one", a.Host),
		Remedy: "run the doctor on the host of the daemon; the hook reads " + defaultConfig + ", this command read " + e.Config.Path}}
}

// failedScript is the other script that failed in place of an answer, "" if
// none did.
func failedScript(err error) string {
	for word := range strings.FieldsSeq(err.Error()) {
		word = strings.Trim(word, "'\"():,")
		if strings.HasPrefix(word, hooksDir+"/") && word != hookPath {
			return word
		}
	}
	return ""
}

func checkHookScripts(ctx context.Context, e *Env) (out []Finding) {
	scripts := []string{hooksDir + "/qemu"}
	entries, err := os.ReadDir(e.Path(scriptsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return []Finding{{Level: Fail, Seen: err.Error(), Remedy: "run the doctor as root"}}
	}
	for _, entry := range entries {
		scripts = append(scripts, filepath.Join(scriptsDir, entry.Name()))
	}
	out = append(out, e.private(hooksDir, 0o022, Fail)...)
	out = append(out, e.private(scriptsDir, 0o022, Fail)...)
	for _, s := range scripts {
		if s != hookPath {
			out = append(out, e.script(s)...)
		}
	}
	if len(out) > 0 || len(e.hookFindings(ctx)) > 0 {
		return out
	}
	return append(out, e.failing(ctx)...)
}

// script looks at one that is not ours.
func (e *Env) script(path string) []Finding {
	info, err := os.Stat(e.Path(path))
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return nil // libvirt does not call it
	}
	if e.second(path) {
		return []Finding{e.secondHook(path)}
	}
	return e.private(path, 0o022, Fail)
}

// failing: a script that fails the start of a domain that only asks fails that
// of every guest.
func (e *Env) failing(ctx context.Context) []Finding {
	_, err := e.ask(ctx)
	if err == nil || !e.NoAnswer(err) || failedScript(err) == "" {
		return nil
	}
	script := failedScript(err)
	return []Finding{{Level: Fail, Seen: "another hook script fails, and with it the start of a guest: " + oneLine(err.Error()),
		Remedy: "correct it, or switch it off", Commands: []string{"chmod a-x " + quote(script)}}}
}
