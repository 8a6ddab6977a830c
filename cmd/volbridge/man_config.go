package main

import (
	"fmt"
	"strings"

	"github.com/volbridge/volbridge/internal/config"
)

const configText = `The configuration says which pools this host uses. It is TOML: a key and
its value in each line, and a table [pool.NAME] for each pool, by which domains and
commands then call it. The pools are the same on every host.

Sizes and times carry their unit, such as "8MiB" and "90s". Unknown keys are
refused, and everything that is wrong is said at once: 'volbridge pool check'
reads the file and tries each pool. The file belongs to root, and where a secret
stands in it nobody else may read it (mode 0600).

The hook reads the file at each start, stop and arrival of a domain with a managed
disk: nothing needs to be restarted after a change.`

const secretsText = `A password or a token stands in the file itself, which then has mode 0600;
or KEY_file names a file that root alone can read; or KEY_credential is the name of a
credential of systemd. That is looked for among those of the unit that runs, of
libvirt's service and of the machine, then as /etc/credstore/NAME (mode 0600) and
encrypted as /etc/credstore.encrypted/NAME, and in the folders of the same names
below /run, /usr/local/lib and /usr/lib. To encrypt one, on each host:

  install -d -m 700 /etc/credstore.encrypted
  systemd-ask-password -n | systemd-creds encrypt --name=NAME - /etc/credstore.encrypted/NAME`

// config is volbridge.toml(5).
func (m manual) config() manPage {
	r := m.page("volbridge.toml", "5", "configuration of volbridge")
	r.section("Synopsis")
	r.WriteString(roffEscape(config.DefaultPath) + "\n")
	r.section("Description")
	r.text(configText)
	r.text("A configuration with one pool:\n\n  [pool.fast]\n  type = \"dir\"\n  path = \"/srv/volbridge\"")
	r.section("Secrets")
	r.text(secretsText)
	for _, t := range m.app.configTables() {
		switch {
		case t.header == "":
			r.section("Keys before the first table")
		case t.header == "timeouts":
			r.section("Keys of [timeouts]")
		default:
			r.section(fmt.Sprintf("Keys of [pool.NAME] with type = %s", t.keys[0].value))
		}
		if t.what != "" {
			r.text(t.what)
		}
		for _, k := range t.keys {
			r.item(bold(k.name), k.what+" "+k.note())
		}
	}
	m.files(r)
	r.section("See also")
	fmt.Fprintf(r, "%s(1), %s(1), %s(8), %s(1)\n", bold("volbridge"), bold("volbridge-pool-check"), bold("volbridge-hook"), bold("systemd-creds"))
	return manPage{"volbridge.toml", "5", r.String()}
}

// note says whether what is shown is the default.
func (k configKey) note() string {
	switch {
	case !k.isDefault:
		return "Example: " + k.value
	case k.value == `""`:
		return "Default: empty."
	}
	return "Default: " + k.value
}

const exampleHead = `# Configuration of volbridge; see volbridge.toml(5). 'volbridge pool check'
# reads it and tries each pool.
#
# A line "#key = value" shows the default, or an example where it says so. Take
# the '#' away to change it. Nothing is read before a domain with a managed disk
# starts, and nothing needs to be restarted after a change.
`

// exampleConfig is the file that packages install: every key, and none set.
func (a *app) exampleConfig() string {
	var b strings.Builder
	b.WriteString(exampleHead)
	for _, t := range a.configTables() {
		b.WriteString("\n")
		if strings.HasPrefix(t.header, "pool.") {
			comment(&b, t.what+" The name after the dot is yours.")
		} else if t.what != "" {
			comment(&b, t.what)
		}
		if t.header != "" {
			fmt.Fprintf(&b, "#[%s]\n", t.header)
		}
		for i, k := range t.keys {
			if i > 0 {
				b.WriteString("\n")
			}
			what := k.what
			if !k.isDefault && k.name != "type" {
				what += " An example:"
			}
			comment(&b, what)
			fmt.Fprintf(&b, "#%s = %s\n", k.name, k.value)
		}
	}
	return b.String()
}

// comment writes text that is never a key: a blank after the '#'.
func comment(b *strings.Builder, text string) {
	for _, line := range wrapWords(text, helpWidth-2) {
		b.WriteString("# " + line + "\n")
	}
}
