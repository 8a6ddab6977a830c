// Package buildinfo says which build a program is, so that the command and the hook
// of one host can be compared.
package buildinfo

import "runtime/debug"

// Unknown is the build of a program that was not told, and not made from a
// repository.
const Unknown = "unknown"

// Version is what the linker was told, else the commit that the program was
// made from, with "-dirty" where something was changed, else Unknown.
func Version(linked string) string {
	if linked != "" && linked != "devel" {
		return linked
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Unknown
	}
	commit, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if commit == "" {
		return Unknown
	}
	return commit[:min(len(commit), 12)] + dirty
}
