package main

import (
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/internal/virt"
)

// version is set by the linker.
var version = ""

type versionJSON struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
	Libvirt string `json:"libvirt,omitempty"`
}

func versionCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print the versions of volbridge and of libvirt's library",
		Description: `Example:
  volbridge version --output json`,
		Action: func(c *cli.Context) error {
			if _, err := arguments(c); err != nil {
				return err
			}
			return a.printVersion()
		},
	}
}

func (a *app) printVersion() error {
	v := versionJSON{Version: version, Go: runtime.Version()}
	readBuild(&v)
	lv, err := virt.LibraryVersion()
	if err != nil {
		a.warn("%v", err)
	}
	v.Libvirt = lv
	if a.json() {
		return a.printJSON(v)
	}
	return a.printFields([][2]string{{"volbridge", v.Version}, {"commit", v.Commit}, {"go", v.Go}, {"libvirt", v.Libvirt}})
}

// readBuild fills in what the linker was not told.
func readBuild(v *versionJSON) {
	if info, ok := debug.ReadBuildInfo(); ok {
		if v.Version == "" {
			v.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	if v.Version == "" || v.Version == "(devel)" {
		v.Version = "unknown"
	}
}
