package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/volbridge/volbridge/internal/config"
)

// editor is for the configuration that this command line names.
func (a *app) editor() config.Editor {
	return config.Editor{Path: a.global.Config, Drivers: a.drivers, Step: a.step}
}

// at says which step comes next, see app.step.
func (a *app) at(step string) {
	if a.step != nil {
		a.step(step)
	}
}

// warnOfStrays names the files with secrets that no pool names: a `pool add` or a
// `pool remove` that was killed leaves such a one.
func (s *session) warnOfStrays() error {
	strays, err := s.strays()
	for _, file := range strays {
		s.app.warn("%s holds a secret, and no pool names it: if no 'volbridge pool add' runs just now, remove it", file)
	}
	return err
}

func (s *session) strays() (strays []string, err error) {
	folder, err := secretsFolder(s.config.Path)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil // only root has secrets there
	}
	if err != nil {
		return nil, fmt.Errorf("look for secrets that no pool names: %w", err)
	}
	for _, entry := range entries {
		file := filepath.Join(folder, entry.Name())
		named := func(p config.Pool) bool { return p.Mentions(file) }
		if entry.Type().IsRegular() && !slices.ContainsFunc(s.config.Pools, named) {
			strays = append(strays, file)
		}
	}
	return strays, nil
}
