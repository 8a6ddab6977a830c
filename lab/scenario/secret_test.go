package scenario

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/lab"
)

const (
	configFile = "/etc/volbridge/volbridge.toml"
	secretFile = "/etc/volbridge/secret"
	// spareFile is what `pool add` reads, and addedFile what it writes.
	spareFile = "/etc/volbridge/spare.secret"
	addedFile = "/etc/volbridge/secrets/spare"
)

// loginWay is a way to configure a login.
type loginWay struct {
	name   string
	lines  string // of the pool
	file   string // that holds the secret; "": the lines do
	secret string
	sealed bool // the file is an encrypted credential
}

// Nothing that volbridge says, writes or runs shows a secret: whatever way the
// login is configured, whatever is done, and whatever the array answers, its
// own repetition of the secrets included.
func TestSecretsStaySecret(t *testing.T) {
	everyCommand(t)
	for _, kind := range append(plainWays, "encrypted") {
		t.Run("right answers, "+kind, func(t *testing.T) {
			if _, err := exec.LookPath("systemd-creds"); err != nil && kind == "encrypted" {
				testenv.Missing(t, "systemd-creds")
			}
			p := newPatrol(t)
			for n, way := range p.ways[kind] {
				p.round(n, way, spoil{})
			}
			p.move()
			p.end()
		})
	}
	for name, logins := range map[string]bool{"wrong logins": true, "wrong calls": false} {
		n := 0
		for answers := range slices.Chunk(slices.Sorted(maps.Keys(spoiled)), 3) { // as many as a lab has time for
			first := n
			n += len(answers)
			t.Run(name+", "+strings.Join(answers, ", "), func(t *testing.T) {
				p := newPatrol(t)
				ways := p.plain()
				for i, answer := range answers {
					p.round(i, ways[(first+i)%len(ways)], spoil{answer: answer, logins: logins})
				}
				if p.hidden == 0 {
					t.Error("no answer was shown with a secret cut out of it: what the array repeated was not tried")
				}
				p.end()
			})
		}
	}
	t.Run("wrong secrets", func(t *testing.T) {
		p := newPatrol(t)
		n := 0
		for _, way := range p.plain() {
			if way.secret == p.token {
				p.refused(n, way)
				n++
			}
		}
		p.end()
	})
}

// plainWays are the kinds of ways that need nothing of the machine.
var plainWays = []string{"inline", "URL", "file", "service's credential", "credential"}

func (p *patrol) plain() (list []loginWay) {
	for _, kind := range plainWays {
		list = append(list, p.ways[kind]...)
	}
	return list
}

// everyCommand fails if volbridge has a command that the patrol does not run.
func everyCommand(t *testing.T) {
	t.Helper()
	list, err := os.ReadFile("../../cmd/volbridge/testdata/commands.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := (&patrol{}).lines("", "")
	for command := range strings.Lines(string(list)) {
		command = strings.TrimSpace(command)
		runs := func(line string) bool { return strings.HasPrefix(line+" ", command+" ") }
		if !slices.ContainsFunc(lines, runs) {
			t.Errorf("nobody looks at what 'volbridge %s' shows: add it to patrol.lines", command)
		}
	}
}

// ways are all that the configuration knows, by kind.
func (s *spy) ways(token, password string) map[string][]loginWay {
	const service, etc, run, sealed = "/run/credentials/libvirtd.service/flash1", "/etc/credstore/flash1", "/run/credstore/flash1", "/etc/credstore.encrypted/flash1"
	address := fmt.Sprintf("address = %q\n", s.address)
	inURL := func(who *url.Userinfo) string {
		u := url.URL{Scheme: "https", User: who, Host: s.address, Path: "/api", RawQuery: "transport=nvme-tcp"}
		return "url = " + quoted(u.String()) + "\n"
	}
	user := address + `user = "pureuser"` + "\n"
	return map[string][]loginWay{
		"inline": {
			{name: "token", lines: address + "api_token = " + quoted(token), secret: token},
			{name: "password", lines: user + "password = " + quoted(password), secret: password},
		},
		"URL": {
			{name: "token in the URL", lines: inURL(url.User(token)), secret: token},
			{name: "password in the URL", lines: inURL(url.UserPassword("pureuser", password)), secret: password},
		},
		"file": {
			{name: "token in a file", lines: address + "api_token_file = " + quoted(secretFile), file: secretFile, secret: token},
			{name: "password in a file", lines: user + "password_file = " + quoted(secretFile), file: secretFile, secret: password},
		},
		"service's credential": {
			{name: "token of libvirt's service", lines: address + `api_token_credential = "flash1"`, file: service, secret: token},
			{name: "password of libvirt's service", lines: user + `password_credential = "flash1"`, file: service, secret: password},
		},
		"credential": {
			{name: "token in /etc", lines: address + `api_token_credential = "flash1"`, file: etc, secret: token},
			{name: "password in /run", lines: user + `password_credential = "flash1"`, file: run, secret: password},
		},
		"encrypted": {
			{name: "encrypted token", lines: address + `api_token_credential = "flash1"`, file: sealed, secret: token, sealed: true},
			{name: "encrypted password", lines: user + `password_credential = "flash1"`, file: sealed, secret: password, sealed: true},
		},
	}
}

// quoted writes a string of TOML.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// patrol does everything that talks to the array.
type patrol struct {
	*spy
	ways         map[string][]loginWay
	token, wrong string
	web, moving  *guest
	webXML       string
	image        string

	said         sync.Mutex
	done, hidden int
	texts        map[string]string
}

// newPatrol makes an array with a volume, a guest that is on it and one that
// runs on a file.
func newPatrol(t *testing.T) *patrol {
	t.Helper()
	token, wrong := newUUID(), newUUID()
	core := strings.ReplaceAll(newUUID(), "-", "")
	password := "p@ss:/&<" + core + `>"'%41+ é`
	o := arrayOptions{}
	o.first.APIToken, o.first.User, o.first.Password = token, "pureuser", password
	c := upWithArrays(t, o)
	c.flash.AddPod("spare", 0)
	// Of the password its middle is looked for, which is the same however it is
	// escaped.
	p := &patrol{spy: newSpy(c, token, wrong, core), token: token, wrong: wrong, image: filepath.Join(c.lab.SharedDir(), "image.raw")}
	p.ways = p.spy.ways(token, password)
	c.must(os.WriteFile(p.image, []byte(strings.Repeat("data", 1<<18)), 0o600))
	p.web, p.webXML = c.volume("web1")
	c.define(c.a, p.webXML)
	var xml string
	p.moving, xml = c.fileGuest(c.a, "moving")
	c.define(c.a, xml)
	c.on(c.a, "virsh", "start", "moving")
	for _, h := range c.lab.Hosts() {
		p.witness(h)
	}
	return p
}

// witness has systemd-creds write down what it is called with, where secrets are
// looked for.
func (p *patrol) witness(h *lab.Host) {
	p.Helper()
	real, err := exec.LookPath("systemd-creds")
	if err != nil {
		return
	}
	p.on(h, "mv", real, real+".real")
	p.must(h.WriteFile(real, []byte("#!/bin/sh\n{ echo \"$@\"; env; } >>/run/creds.log\nexec "+real+".real \"$@\"\n"), 0o755))
}

// round configures a login, does everything with an array that answers so, and
// looks for secrets.
func (p *patrol) round(n int, way loginWay, how spoil) {
	p.Helper()
	p.texts = map[string]string{}
	p.configure(way)
	p.answers(spoil{})
	if how.answer == "" {
		p.throughLibvirt()
	}
	p.hook(p.a, p.webXML, "web1", "prepare", "begin")
	if how.logins {
		p.endSessions()
	}
	p.answers(how)
	p.everything(n, way, how.answer == "")
	p.answers(spoil{})
	p.tidy(way, fmt.Sprintf("%s, %+v", way.name, how))
}

// refused is a round with another token in the place of the right one.
func (p *patrol) refused(n int, right loginWay) {
	p.Helper()
	wrong := right
	wrong.lines, wrong.secret = strings.ReplaceAll(right.lines, p.token, p.wrong), p.wrong
	p.texts = map[string]string{}
	p.configure(wrong)
	p.endSessions()
	if out := p.run("", "virsh", "start", "web1"); !strings.Contains(out, "401") {
		p.Errorf("%s, wrong: the start says nothing of the array's answer: %s", wrong.name, out)
	}
	p.everything(n, wrong, false)
	p.tidy(right, wrong.name+", wrong")
}

// everything is done in text and in JSON by turns.
func (p *patrol) everything(n int, way loginWay, inOrder bool) {
	p.Helper()
	who := ""
	if strings.Contains(way.lines, "pureuser") {
		who = "pureuser@"
	}
	format := []string{"text", "json"}[n%2]
	all := func(do func()) { do() }
	var started sync.WaitGroup
	if !inOrder { // nothing succeeds, so nothing needs another
		all = started.Go
	}
	for _, line := range p.lines(p.b.URI(), who) {
		all(func() {
			p.run("", "volbridge", append([]string{"--log-level", "trace", "--output", format}, strings.Fields(line)...)...)
		})
	}
	started.Wait()
	for _, op := range [][]string{{"reconnect", "begin"}, {"prepare", "begin"}, {"migrate", "begin"}, {"restore", "begin"}, {"release", "end"}} {
		p.run(p.webXML, hookProgram, "web1", op[0], op[1], "-")
	}
	p.run("", "virsh", "start", "web1")
	p.run("", "virsh", "destroy", "web1")
	p.texts["domain XML"] = p.on(p.a, "virsh", "dumpxml", "web1") + p.on(p.a, "virsh", "dumpxml", "moving")
}

// lines are the commands, in an order in which they succeed.
func (p *patrol) lines(uri, who string) []string {
	spare := ""
	if p.spy != nil {
		spare = fmt.Sprintf("https://%s%s/api?transport=nvme-tcp&pod=spare&ca_file=%s", who, p.address, p.caFile)
	}
	return []string{
		"pool check", "pool check flash", "pool check flash --volume", "pool list", "pool info flash", "pool init fast",
		"pool add spare " + spare + " --inline --dry-run --secret-file " + spareFile,
		"pool add spare " + spare + " --dry-run --credential flash1",
		"pool add spare " + spare + " --inline --secret-file " + spareFile, "pool info spare", "pool remove spare",
		"pool add spare " + spare + " --secret-file " + spareFile,
		"pool add spare " + spare + " --no-check --secret-file " + spareFile,
		"pool list", "pool info spare", "pool remove spare --dry-run", "pool remove spare",
		"volume list", "volume info flash/web1", "volume path flash/web1",
		"volume create flash/new --size 2MiB", "volume create flash/copy --from " + p.image,
		"volume import flash/new " + p.image + " --overwrite", "volume resize flash/new --size 4MiB",
		"volume revoke flash/web1 --host kvm02 --yes", "volume delete flash/new --yes", "volume delete flash/copy --yes",
		"domain disks web1", "domain adopt web1 --dry-run", "domain forget web1 vda --dry-run", "domain rewrite /run/define.xml",
		"migrate moving " + uri + " --to-pool flash --dry-run",
		"doctor", "metrics", "metrics --textfile /run/volbridge.prom", "version", "attached",
		"complete volume info flash/", "generate-docs /run/docs",
		"recover --dry-run", "recover",
	}
}

// throughLibvirt starts, moves and ends the guest, and so needs the login on both
// hosts.
func (p *patrol) throughLibvirt() {
	p.Helper()
	p.texts["virsh"] = p.on(p.a, "virsh", "start", "web1") + p.on(p.a, "virsh", "migrate", "--live", "web1", p.b.URI())
	p.runsOnlyOn(p.web, p.b)
	p.texts["virsh"] += p.on(p.b, "virsh", "dumpxml", "web1") + p.on(p.b, "virsh", "destroy", "web1")
}

// move takes a guest from its file onto the array.
func (p *patrol) move() {
	p.Helper()
	p.texts = map[string]string{"volbridge migrate": p.on(p.a, "volbridge", "--log-level", "trace", "migrate", "moving", p.b.URI(), "--to-pool", "flash")}
	p.texts["domain XML"] = p.on(p.b, "virsh", "dumpxml", "moving")
	p.runsOnlyOn(p.moving, p.b)
	p.on(p.b, "virsh", "destroy", "moving")
	p.on(p.b, "volbridge", "volume", "delete", "--yes", "flash/moving-vda")
	p.look("migration")
}

func (p *patrol) configure(way loginWay) {
	p.Helper()
	p.spy.mu.Lock()
	p.login = []string{way.secret}
	p.spy.mu.Unlock()
	config := "log_level = \"trace\"\n" + pools(p.lab.SharedDir()) +
		fmt.Sprintf("[pool.flash]\ntype = \"flasharray\"\neradicate = true\nca_file = %q\n%s\n", p.caFile, way.lines)
	p.may = map[string]bool{configFile: way.file == "", spareFile: true, addedFile: true, way.file: !way.sealed}
	for _, h := range p.lab.Hosts() {
		p.on(h, "rm", "-rf", secretFile, filepath.Dir(addedFile), "/run/credentials", "/etc/credstore", "/run/credstore", "/etc/credstore.encrypted")
		p.must(h.WriteFile(configFile, []byte(config), 0o600))
		p.must(h.WriteFile(spareFile, []byte(way.secret+"\n"), 0o600))
		switch {
		case way.sealed:
			p.seal(h, way)
		case way.file != "":
			p.must(h.WriteFile(way.file, []byte(way.secret+"\n"), 0o600))
		}
	}
}

// seal encrypts the secret with the host's own key, as an administrator does.
func (p *patrol) seal(h *lab.Host, way loginWay) {
	p.Helper()
	p.on(h, "mkdir", "-p", filepath.Dir(way.file))
	cmd := h.Command(p.ctx, "systemd-creds", "encrypt", "--with-key=host", "--name="+filepath.Base(way.file), "-", way.file)
	cmd.Stdin = strings.NewReader(way.secret)
	if out, err := cmd.CombinedOutput(); err != nil {
		p.Fatalf("%v: %s", err, out)
	}
}

func (p *patrol) endSessions() {
	p.Helper()
	for _, h := range p.lab.Hosts() {
		for _, file := range p.glob(h.Path("/run/volbridge"), "session-*.json") {
			p.must(os.Remove(file))
		}
	}
}

// run keeps all that a program says; whether it succeeds is not the question.
func (p *patrol) run(stdin, program string, args ...string) string {
	cmd := p.a.Command(p.ctx, program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	p.said.Lock()
	defer p.said.Unlock()
	p.done++
	p.hidden += strings.Count(string(out), "[secret]")
	name := program + " " + strings.Join(args, " ")
	p.texts[name] += fmt.Sprintf("%s\n%v\n", out, err)
	return string(out)
}

// look fails for each place where a secret is.
func (p *patrol) look(round string) {
	p.Helper()
	for _, leak := range p.leaks(p.texts) {
		p.Errorf("%s: %s", round, leak)
	}
}

// tidy looks for secrets, and ends a round with a login that works.
func (p *patrol) tidy(way loginWay, round string) {
	p.Helper()
	p.look(round)
	p.configure(way)
	p.run(p.webXML, hookProgram, "web1", "release", "end", "-")
	p.run("", "volbridge", "recover")
	p.run("", "volbridge", "volume", "delete", "--yes", "flash/new")
	p.run("", "volbridge", "volume", "delete", "--yes", "flash/copy")
	p.clean()
}

// end sees that there was something to look at.
func (p *patrol) end() {
	p.Helper()
	p.spy.mu.Lock()
	defer p.spy.mu.Unlock()
	if !strings.Contains(p.journal.String(), "prepare begin of domain") {
		p.Errorf("the journal has nothing of the hook: %s", &p.journal)
	}
	p.Logf("%d commands and hooks, %d calls of the array, %d times a secret cut out of its answer, %d bytes in the journal",
		p.done, p.calls, p.hidden, p.journal.Len())
}

// A configuration that cannot be used is complained of without its secrets.
func TestMistakesDoNotShowSecrets(t *testing.T) {
	c := upWithArrays(t, arrayOptions{})
	core := strings.ReplaceAll(newUUID(), "-", "")
	token := newUUID()
	s := newSpy(c, token, core)
	_, xml := c.volume("web1")
	head := fmt.Sprintf("log_level = \"trace\"\n[pool.flash]\ntype = \"flasharray\"\nca_file = %q\n", s.caFile)
	address := fmt.Sprintf("address = %q\n", s.address)
	for name, lines := range map[string]string{
		"not closed":       address + `api_token = "` + token,
		"not quoted":       address + `api_token = ` + token,
		"a list":           address + `api_token = ["` + token + `"]`,
		"a number":         address + `password = 1` + strings.Repeat("7", 30),
		"twice":            address + "api_token = \"" + token + "\"\napi_token = \"" + token + "\"",
		"both":             address + "api_token = \"" + token + "\"\nuser = \"u\"\npassword = \"" + core + `"`,
		"misspelt":         address + `api_tokn = "` + token + `"`,
		"misspelt table":   "[pool.flash.x]\napi_token = \"" + token + `"`,
		"two lines":        address + `api_token = "` + token + `\n` + token + `"`,
		"URL, http":        `url = "http://u:` + core + `@` + s.address + `/api?transport=nvme-tcp"`,
		"URL, not escaped": `url = "https://u:` + core + `%zz/` + core + `@` + s.address + `/api"`,
		"URL, question":    `url = "https://u:x?` + core + `@` + s.address + `/api"`,
		"URL, number sign": `url = "https://u:x#` + core + `@` + s.address + `/api"`,
		"URL, path":        `url = "https://u:` + core + `@` + s.address + `/` + core + `"`,
		"URL, port":        `url = "https://u:` + core + `@` + s.address + `:99999/api?transport=nvme-tcp"`,
		"URL as address":   `address = "https://u:` + core + `@` + s.address + `/api"` + "\napi_token = \"" + token + `"`,
		"URL and address":  address + `url = "https://u:` + core + `@` + s.address + `/api?transport=nvme-tcp"`,
		"no transport":     `url = "https://u:` + core + `@` + s.address + `/api"`,
		"others read":      address + `api_token = "` + token + `"`,
	} {
		mode := os.FileMode(0o600)
		if name == "others read" {
			mode = 0o644
		}
		c.must(c.a.WriteFile("/etc/volbridge/volbridge.toml", []byte(head+lines+"\n"), mode))
		p := &patrol{spy: s, texts: map[string]string{}}
		p.run("", "volbridge", "--log-level", "trace", "pool", "check")
		p.run("", "volbridge", "pool", "info", "flash")
		p.run(xml, hookProgram, "web1", "prepare", "begin", "-")
		p.run(xml, hookProgram, "web1", "release", "end", "-")
		if out := p.texts["volbridge --log-level trace pool check"]; !strings.Contains(out, "exit status") {
			t.Errorf("%s: is taken: %s", name, out)
		}
		for _, leak := range s.leaks(p.texts) {
			t.Errorf("%s: %s", name, leak)
		}
	}
}
