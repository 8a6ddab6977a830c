package doctor

import (
	"bytes"
	"debug/buildinfo"
	"io/fs"
	"os"
	"path/filepath"
)

// hookProgram is what Go writes into each build of the hook.
const hookProgram = "github.com/volbridge/volbridge/cmd/volbridge-hook"

// second says whether a script is the hook once more, under another name. It goes
// by what the file is: a name proves nothing, and a script of somebody else must
// not run for the answer.
func (e *Env) second(path string) bool {
	ours, err1 := os.Stat(e.Path(hookPath))
	theirs, err2 := os.Stat(e.Path(path))
	if err1 != nil || err2 != nil {
		return false
	}
	if os.SameFile(ours, theirs) {
		return true
	}
	if built, err := buildinfo.ReadFile(e.Path(path)); err == nil && built.Path == hookProgram {
		return true
	}
	if ours.Size() != theirs.Size() {
		return false
	}
	a, err1 := os.ReadFile(e.Path(hookPath))
	b, err2 := os.ReadFile(e.Path(path))
	return err1 == nil && err2 == nil && bytes.Equal(a, b)
}

// secondHook has a remedy that loses no file and leaves the first hook as it is:
// chmod follows links, and would switch that one off too.
func (e *Env) secondHook(path string) Finding {
	f := Finding{Level: Fail, Seen: path + " is a second hook of volbridge: each start would be prepared twice"}
	real := e.resolve(hookPath)
	switch {
	case !e.leadsOver(path) && (e.isLink(path) || e.sameFile(path, hookPath)):
		f.Remedy = "remove this name of it; " + hookPath + " stays"
		f.Commands = []string{"rm " + quote(path)}
	case !e.leadsOver(path):
		f.Remedy = "switch it off; " + hookPath + " stays"
		f.Commands = []string{"chmod a-x " + quote(path)}
	case e.isLink(path):
		f.Remedy = "let " + hookPath + " lead to the hook without it, and remove it"
		f.Commands = []string{"ln -sfn " + quote(real) + " " + hookPath, "rm " + quote(path)}
	default:
		f.Remedy = hookPath + " is a link to it: put it there itself"
		f.Commands = []string{"mv -f " + quote(path) + " " + hookPath}
	}
	return f
}

func (e *Env) isLink(path string) bool {
	info, err := os.Lstat(e.Path(path))
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

func (e *Env) sameFile(a, b string) bool {
	one, err1 := os.Stat(e.Path(a))
	other, err2 := os.Stat(e.Path(b))
	return err1 == nil && err2 == nil && os.SameFile(one, other)
}

// leadsOver says whether the link that libvirt calls goes by way of path. Names
// do not tell: a folder may be a link.
func (e *Env) leadsOver(path string) bool {
	way, err := os.Lstat(e.Path(path))
	if err != nil {
		return false
	}
	at := hookPath
	for range 10 {
		to, err := os.Readlink(e.Path(at))
		if err != nil {
			return false
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(at), to)
		}
		at = to
		if info, err := os.Lstat(e.Path(at)); err == nil && os.SameFile(way, info) {
			return true
		}
	}
	return false
}
