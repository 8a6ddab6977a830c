package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// manPage is one page of the manual.
type manPage struct{ name, section, text string }

func (p manPage) file() string { return p.name + "." + p.section }

// manCommand writes the manual and the example configuration. It is there for
// whoever makes the packages, and not shown.
func manCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "generate-docs", Hidden: true, Usage: "write the manual pages and the example configuration into a folder", ArgsUsage: "DIR",
		Description: `For whoever makes the packages.

Example:
  volbridge generate-docs --date 2026-01-31 made`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "date", Usage: "the `DATE` that the pages carry"},
		},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "DIR")
			if err != nil {
				return err
			}
			return a.writeDocs(args[0], c.String("date"))
		},
	}
}

func (a *app) writeDocs(dir, date string) error {
	files := map[string]string{"volbridge.toml": a.exampleConfig()}
	for _, p := range a.manPages(date) {
		files[p.file()] = p.text
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the manual: %w", err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write the manual: %w", err)
		}
	}
	return nil
}

// manPages is the whole manual: a page for each command, as git and nvme have
// them, one for the configuration and one for the hook.
func (a *app) manPages(date string) []manPage {
	m := manual{app: a, date: date, source: "volbridge " + version}
	pages := []manPage{m.program()}
	m.each("volbridge", a.commands(), func(name string, c *cli.Command) {
		pages = append(pages, m.command(name, c))
	})
	return append(pages, m.config(), m.hook())
}

type manual struct {
	app          *app
	date, source string
}

func (m manual) page(name, section, what string) *roff {
	r := &roff{}
	r.title(name, section, m.date, m.source)
	r.section("Name")
	fmt.Fprintf(r, "%s \\- %s\n", roffEscape(name), roffEscape(what))
	return r
}

// each visits the commands in the order of the help. name is "volbridge volume
// create".
func (m manual) each(parent string, commands []*cli.Command, visit func(name string, c *cli.Command)) {
	for _, c := range commands {
		if c.Hidden {
			continue
		}
		name := parent + " " + c.Name
		visit(name, c)
		m.each(name, c.Subcommands, visit)
	}
}

func (m manual) program() manPage {
	r := m.page("volbridge", "1", "volumes of storage pools for plain libvirt hosts")
	r.section("Synopsis")
	fmt.Fprintf(r, "%s [%s] %s [%s] [%s]\n", bold("volbridge"), italic("GLOBAL OPTION..."), italic("COMMAND"), italic("OPTION..."), italic("ARGUMENT..."))
	r.section("Description")
	r.text(description)
	r.section("Commands")
	m.each("volbridge", m.app.commands(), func(name string, c *cli.Command) {
		r.item(bold(pageName(name))+"(1)", sentence(c.Usage))
	})
	r.section("Global options")
	m.options(r, m.app.globalFlags())
	r.section("Exit status")
	r.text(strings.TrimPrefix(exitHelp, "Exit codes:\n"))
	r.section("Environment")
	r.item(bold("VOLBRIDGE_CONFIG"), "The configuration file, as --config names it.")
	r.item(bold("VIRSH_DEFAULT_CONNECT_URI")+", "+bold("LIBVIRT_DEFAULT_URI"), "The libvirt URI where --connect names none.")
	r.item(bold("NO_COLOR"), "If it is set to anything there are no colours.")
	m.files(r)
	r.section("See also")
	fmt.Fprintf(r, "%s(5), %s(8), %s(1)\n", bold("volbridge.toml"), bold("volbridge-hook"), bold("virsh"))
	return manPage{"volbridge", "1", r.String()}
}

func (m manual) files(r *roff) {
	r.section("Files")
	r.item(bold("/etc/volbridge/volbridge.toml"), "The configuration.")
	r.item(bold("/var/lib/volbridge"), "What is attached to this host, and migrations under way.")
	r.item(bold("/run/volbridge"), "Locks and shared logins, gone after a boot.")
	r.item(bold("/etc/libvirt/hooks/qemu.d/50-volbridge"), "Where libvirt finds the hook.")
}

func (m manual) command(name string, c *cli.Command) manPage {
	r := m.page(pageName(name), "1", c.Usage)
	r.section("Synopsis")
	synopsis := bold(name)
	switch {
	case len(c.Subcommands) > 0:
		synopsis += " " + italic("COMMAND")
	case len(c.Flags) > 0:
		synopsis += " [" + italic("OPTION...") + "]"
	}
	if c.ArgsUsage != "" {
		synopsis += " " + italic(c.ArgsUsage)
	}
	r.WriteString(synopsis + "\n")
	r.section("Description")
	r.text(sentence(c.Usage))
	r.text(c.Description)
	if len(c.Aliases) > 0 {
		r.text("Its short form is " + strings.Join(c.Aliases, ", ") + ".")
	}
	if len(c.Subcommands) > 0 {
		r.section("Commands")
		for _, s := range c.Subcommands {
			if !s.Hidden {
				r.item(bold(pageName(name+" "+s.Name))+"(1)", sentence(s.Usage))
			}
		}
	}
	if len(c.Flags) > 0 {
		r.section("Options")
		m.options(r, c.Flags)
	}
	r.section("Exit status")
	fmt.Fprintf(r, "The codes, and the options that every command has, are in\n%s(1).\n", bold("volbridge"))
	r.section("See also")
	fmt.Fprintf(r, "%s(1), %s(5)\n", bold("volbridge"), bold("volbridge.toml"))
	return manPage{pageName(name), "1", r.String()}
}

func pageName(command string) string { return strings.ReplaceAll(command, " ", "-") }

// sentence makes one of a usage, which begins small and has no full stop.
func sentence(usage string) string {
	if usage == "" {
		return ""
	}
	return strings.ToUpper(usage[:1]) + usage[1:] + "."
}

// options lists flags as they are typed. The library's own --help and
// --version need no words.
func (m manual) options(r *roff, flags []cli.Flag) {
	for _, f := range flags {
		d, ok := f.(cli.DocGenerationFlag)
		if !ok || hiddenFlag(f) {
			continue
		}
		value, what := flagText(d)
		var forms []string
		for _, name := range f.Names() {
			dashes := "--"
			if len(name) == 1 {
				dashes = "-"
			}
			forms = append(forms, bold(dashes+name))
		}
		term := strings.Join(forms, ", ")
		if value != "" {
			term += " " + italic(value)
		}
		if text := d.GetDefaultText(); text != "" && !slices.Contains([]string{"false", "0", `""`}, text) {
			what += " (default: " + text + ")"
		}
		r.item(term, sentence(what))
	}
}

func hiddenFlag(f cli.Flag) bool {
	v, ok := f.(cli.VisibleFlag)
	return ok && !v.IsVisible()
}

// flagText takes the name of a flag's value, which stands in backquotes, out of
// its usage.
func flagText(d cli.DocGenerationFlag) (value, what string) {
	what = d.GetUsage()
	before, rest, ok := strings.Cut(what, "`")
	if value, after, closed := strings.Cut(rest, "`"); ok && closed {
		return value, before + value + after
	}
	if d.TakesValue() {
		value = "VALUE"
	}
	return value, what
}
