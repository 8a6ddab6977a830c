package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/drivers"
)

// app is what all commands share: the streams and the global flags.
type app struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	// inTerminal and the others: a person sits there.
	inTerminal, outTerminal, errTerminal bool

	drivers []pool.Driver
	global  globals
	// step is called before each step that a power cut may fall before; of tests.
	step func(name string)
}

// globals are the flags that every command has.
type globals struct {
	Config   string
	Connect  string
	Output   string
	LogLevel string
	Verbose  bool
	Quiet    bool
	NoColor  bool
	Version  bool
}

func newApp() *app {
	terminal := func(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
	a := &app{
		in: os.Stdin, err: os.Stderr, getenv: os.Getenv,
		inTerminal: terminal(os.Stdin), outTerminal: terminal(os.Stdout), errTerminal: terminal(os.Stderr),
		drivers: drivers.All,
	}
	a.out = output{os.Stdout, a.outTerminal}
	return a
}

const description = `A host with plain libvirt uses a volume of a storage pool, and migrates live
with it, as easily as with a file. libvirt's hook does the work at each start,
stop and arrival of a domain; this command does the rest.

Example, from a qcow2 file to a volume on another host while the guest runs:

  volbridge pool check fast
  volbridge migrate web qemu+ssh://kvm02/system --to-pool fast

`

// commands in the order of the help.
func (a *app) commands() []*cli.Command {
	return []*cli.Command{
		migrateCommand(a),
		recoverCommand(a),
		metricsCommand(a),
		doctorCommand(a),
		volumeCommand(a),
		poolCommand(a),
		domainCommand(a),
		versionCommand(a),
		manCommand(a),
		completionCommand(a),
		attachedCommand(a),
	}
}

func (a *app) cli() *cli.App {
	cli.FlagStringer = optionHelp
	c := &cli.App{
		Name:                      "volbridge",
		Usage:                     "volumes of storage pools for plain libvirt hosts",
		Description:               reflow(description + exitHelp),
		Flags:                     a.globalFlags(),
		Commands:                  a.commands(),
		Action:                    a.root,
		OnUsageError:              onUsageError,
		ExitErrHandler:            func(*cli.Context, error) {}, // main exits
		Writer:                    a.out,
		ErrWriter:                 a.err,
		HideVersion:               true,
		EnableBashCompletion:      true,
		DisableSliceFlagSeparator: true,
	}
	prepare(c.Commands)
	return c
}

// root is the program without a command.
func (a *app) root(c *cli.Context) error {
	if a.global.Version && !c.Args().Present() {
		return a.printVersion()
	}
	return group(c)
}

func (a *app) globalFlags() []cli.Flag {
	g := &a.global
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Value: config.DefaultPath, Usage: "configuration `FILE`", Destination: &g.Config, EnvVars: []string{"VOLBRIDGE_CONFIG"}},
		&cli.StringFlag{Name: "connect", Aliases: []string{"c"}, Usage: "libvirt `URI`; without it $VIRSH_DEFAULT_CONNECT_URI, $LIBVIRT_DEFAULT_URI, qemu:///system", Destination: &g.Connect},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: outputText, Usage: "`FORMAT` of what is printed: text or json", Destination: &g.Output},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print nothing but what was asked for", Destination: &g.Quiet},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "log what is done, on stderr", Destination: &g.Verbose},
		&cli.StringFlag{Name: "log-level", Value: "warn", Usage: "log from this `LEVEL` on: error, warn, info, debug, trace", Destination: &g.LogLevel},
		&cli.BoolFlag{Name: "no-color", Usage: "no colours, even on a terminal; so does $NO_COLOR", Destination: &g.NoColor},
		&cli.BoolFlag{Name: "version", Usage: "print the version, as the command version does", Destination: &g.Version},
	}
}

// run carries out one command line.
func (a *app) run(ctx context.Context, args []string) error {
	c := a.cli()
	c.Before = func(c *cli.Context) error {
		if a.global.Version && c.Args().Present() {
			return usagef("--version stands alone")
		}
		return a.global.check()
	}
	args, err := reorder(c, args)
	if err != nil {
		return err
	}
	return c.RunContext(ctx, args)
}

func (g globals) check() error {
	if g.Output != outputText && g.Output != outputJSON {
		return usagef("--output %q: text or json", g.Output)
	}
	if _, err := logrus.ParseLevel(g.LogLevel); err != nil {
		return usagef("--log-level %q: error, warn, info, debug or trace", g.LogLevel)
	}
	return nil
}

// log writes to stderr.
func (a *app) log() *logrus.Entry {
	l := logrus.New()
	l.Out = a.err
	l.Formatter = lineFormat{}
	level, err := logrus.ParseLevel(a.global.LogLevel)
	if err != nil {
		level = logrus.WarnLevel
	}
	if a.global.Verbose && level < logrus.DebugLevel {
		level = logrus.DebugLevel
	}
	if a.global.Quiet {
		level = min(level, logrus.ErrorLevel)
	}
	l.Level = level
	return logrus.NewEntry(l)
}

// lineFormat writes log lines as all else that the command says on stderr.
type lineFormat struct{}

// Format implements logrus.Formatter.
func (lineFormat) Format(e *logrus.Entry) ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "volbridge: %s: %s", e.Level, e.Message)
	for _, k := range slices.Sorted(maps.Keys(e.Data)) {
		fmt.Fprintf(&b, " (%s %v)", k, e.Data[k])
	}
	return []byte(b.String() + "\n"), nil
}

// colour says whether a stream may be coloured; see no-color.org.
func (a *app) colour(terminal bool) bool {
	return terminal && !a.global.NoColor && a.getenv("NO_COLOR") == ""
}

// report prints an error: what went wrong in the first lines, a hint below.
func (a *app) report(err error) {
	if err == nil {
		return
	}
	prefix := "volbridge: "
	if a.colour(a.errTerminal) {
		prefix = "\x1b[1;31mvolbridge:\x1b[0m "
	}
	fmt.Fprintln(a.err, prefix+strings.TrimRight(err.Error(), "\n"))
	var hinted *hintedError
	if errors.As(err, &hinted) {
		fmt.Fprintln(a.err, "hint: "+hinted.hint)
	}
}

// hintedError carries what a person could do next, where the error itself
// does not say so.
type hintedError struct {
	err  error
	hint string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }

// withHint adds a hint line; nil stays nil.
func withHint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hintedError{err, fmt.Sprintf(format, args...)}
}
