package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/pool/settings"
)

func checkConfig(_ context.Context, e *Env) []Finding {
	path := e.Config.Path
	switch {
	case errors.Is(e.ConfigErr, config.ErrNoConfig):
		return []Finding{{Level: Warn, Seen: path + " does not exist: this host has no pool",
			Remedy: "write the pools into it; 'volbridge pool --help' lists all keys"}}
	case e.ConfigErr != nil:
		return []Finding{{Level: Fail, Seen: oneLine(e.ConfigErr.Error()),
			Remedy: "correct " + path + ", and see that it is right: volbridge pool check", Commands: e.trustCommands(path, 0o022)}}
	case len(e.Config.Pools) == 0:
		return []Finding{{Level: Warn, Seen: path + " names no pool", Remedy: "write the pools into it; 'volbridge pool --help' lists all keys"}}
	}
	return e.private(path, 0o022, Fail)
}

// trustCommands take a file from those who must not have it. A file with a
// mistake keeps everything else as it is.
func (e *Env) trustCommands(path string, forbidden fs.FileMode) (commands []string) {
	info, err := os.Stat(e.Path(path))
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	var invalid *config.InvalidError
	if errors.As(e.ConfigErr, &invalid) && len(invalid.Problems) == 1 && invalid.Problems[0].Line == 0 {
		forbidden = 0o077 // it holds a secret
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 {
		commands = append(commands, "chown root "+quote(path))
	}
	switch {
	case info.Mode().Perm()&forbidden == 0:
	case forbidden == 0o077:
		commands = append(commands, "chmod 600 "+quote(path))
	default:
		commands = append(commands, "chmod go-w "+quote(path))
	}
	return commands
}

// private says of a file whether somebody but root can do with it what they
// must not; one that is not there is nobody's.
func (e *Env) private(path string, forbidden fs.FileMode, level Level) []Finding {
	info, err := os.Stat(e.Path(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return []Finding{{Level: level, Seen: err.Error(), Remedy: "run the doctor as root"}}
	}
	var wrong, commands []string
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 {
		wrong = append(wrong, fmt.Sprintf("belongs to user %d", stat.Uid))
		commands = append(commands, "chown root "+quote(path))
	}
	if perm := info.Mode().Perm(); perm&forbidden != 0 {
		wrong = append(wrong, fmt.Sprintf("has mode %04o", perm))
		change := "chmod go-w "
		if forbidden&0o044 != 0 {
			change = "chmod go= "
		}
		commands = append(commands, change+quote(path))
	}
	if len(wrong) == 0 {
		return nil
	}
	return []Finding{{Level: level, Seen: path + " " + strings.Join(wrong, " and "), Remedy: "give it to root alone", Commands: commands}}
}

// checkCredentials looks at the files that the pools read their secrets and
// certificates from.
func checkCredentials(_ context.Context, e *Env) (out []Finding) {
	for _, p := range e.Config.Pools {
		for _, f := range e.files(p.Settings) {
			out = append(out, e.credential(p.Name, f)...)
		}
	}
	return out
}

func (e *Env) credential(pool string, f settingsFile) []Finding {
	info, err := os.Stat(e.Path(f.path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{{Level: Fail, Seen: fmt.Sprintf("pool %s: %s names %s, which is not there", pool, f.key, f.path),
			Remedy: "put the file back, or correct the path in " + e.Config.Path}}
	case err != nil:
		return []Finding{{Level: Fail, Seen: fmt.Sprintf("pool %s: %s: %v", pool, f.key, err), Remedy: "run the doctor as root"}}
	case !info.Mode().IsRegular():
		return []Finding{{Level: Fail, Seen: fmt.Sprintf("pool %s: %s names %s, which is no file", pool, f.key, f.path),
			Remedy: "put a file there, or correct the path in " + e.Config.Path}}
	case !f.secret:
		return e.private(f.path, 0o022, Fail)
	}
	found := e.private(f.path, 0o077, Fail)
	for i := range found {
		found[i].Remedy = fmt.Sprintf("give it to root alone, and change the secret on the storage of pool %s: others may have read it", pool)
	}
	return found
}

// settingsFile is a file that a pool's settings name.
type settingsFile struct {
	key, path string
	secret    bool
}

// files are those that the settings name: KEY_file beside a secret KEY, or a
// private key, holds a secret, and KEY_credential names one that is a file in a
// folder of systemd.
func (e *Env) files(ofPool any) (list []settingsFile) {
	v := reflect.Indirect(reflect.ValueOf(ofPool))
	if v.Kind() != reflect.Struct {
		return nil
	}
	secrets := map[string]bool{"key": true}
	tag := func(i int) string {
		key, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("toml"), ",")
		return key
	}
	for i := range v.NumField() {
		if v.Field(i).Type() == reflect.TypeFor[config.Secret]() {
			secrets[tag(i)] = true
		}
	}
	for i := range v.NumField() {
		if v.Field(i).Kind() != reflect.String || v.Field(i).String() == "" {
			continue
		}
		if plain, isFile := strings.CutSuffix(tag(i), "_file"); isFile {
			list = append(list, settingsFile{key: tag(i), path: v.Field(i).String(), secret: secrets[plain]})
		}
		if strings.HasSuffix(tag(i), "_credential") {
			list = append(list, e.stored(tag(i), v.Field(i).String())...)
		}
	}
	return list
}

// stored is the file of a credential that an administrator put there: of those that
// systemd shows to services it sees to the modes itself. An encrypted one anybody
// may read.
func (e *Env) stored(key, name string) []settingsFile {
	store := settings.Credentials(os.Getenv)
	for i, dir := range slices.Concat(store.Plain, store.Encrypted) {
		file := filepath.Join(dir, name)
		if _, err := os.Lstat(e.Path(file)); err != nil {
			continue // or none is there at all, which the check of the pools says
		}
		if strings.Contains(dir, "credstore") {
			return []settingsFile{{key: key, path: file, secret: i < len(store.Plain)}}
		}
		return nil
	}
	return nil
}

func checkDirs(_ context.Context, e *Env) (out []Finding) {
	for _, dir := range []string{e.Config.StateDir, e.Config.RunDir, "/etc/volbridge", "/dev/volbridge"} {
		out = append(out, e.private(dir, 0o022, Fail)...)
	}
	return out
}
