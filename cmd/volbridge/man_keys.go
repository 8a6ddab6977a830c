package main

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/volbridge/volbridge/internal/config"
)

// configKey is one key of the configuration as the manual and the example file
// show it.
type configKey struct {
	name string
	what string
	// value is the default as it stands in TOML. Where there is none, or nothing
	// in particular, it is an example.
	value     string
	isDefault bool
}

// configTable is a table of the configuration with its keys.
type configTable struct {
	header string // "", "timeouts", "pool.fast"
	what   string
	keys   []configKey
}

// keyText says what a key does, and an example of it.
type keyText struct{ what, example string }

var globalKeys = []struct {
	name string
	keyText
}{
	{"host_name", keyText{"Name of this host in the pools, for people. Without it the kernel's.", `"kvm01"`}},
	{"host_id", keyText{"What this host is in the pools, unique and lasting. Without it a hash of /etc/machine-id.", `"kvm01.example.com"`}},
	{"log_level", keyText{"Of the hook, which logs to the journal: error, warn, info, debug, trace.", ""}},
	{"state_dir", keyText{"What must survive a boot: which volumes are attached here, and migrations under way.", ""}},
	{"run_dir", keyText{"What must not survive a boot: locks.", ""}},
}

var timeoutKeys = []struct {
	name string
	keyText
}{
	{"prepare", keyText{"The hook's work at a start, while libvirt waits.", ""}},
	{"migrate", keyText{"Its work for a domain that arrives.", ""}},
	{"release", keyText{"Its work at a stop.", ""}},
	{"device", keyText{"Until an attached device appears.", ""}},
	{"lock", keyText{"Until another process lets go of a domain or volume.", ""}},
	{"pending_age", keyText{"After which an arrival that never came is taken back.", ""}},
}

// poolTexts say what each kind of pool is, and in which order people read them.
var poolTexts = map[string]struct{ name, what string }{
	"dir":        {"fast", "Raw files in a directory, local or the same on several hosts, attached as loop devices."},
	"flasharray": {"flash", "Volumes of a Pure FlashArray, over NVMe/TCP."},
	"drbd":       {"mirror", "DRBD resources that you configured yourself."},
	"linstor":    {"cluster", "Volumes of a LINSTOR cluster, over DRBD."},
}

const (
	secretFileText       = "in a file that only root may read (mode 0600)."
	secretCredentialText = "as a credential of systemd with this name, plain or encrypted."
)

// poolKeyTexts are the texts of the keys of each kind of pool. A test compares
// them with what the drivers read.
var poolKeyTexts = map[string]map[string]keyText{
	"dir": {
		"path":        {"The directory. The same file system on every host that shares the pool. Required.", `"/srv/volbridge"`},
		"granularity": {"Sizes are rounded up to a multiple of this, of 512B at least.", ""},
		"mountpoint":  {"Refuse to work unless a file system is mounted there.", ""},
	},
	"flasharray": {
		"address":              {"Host name or IP of the array's management, with :PORT if it is not 443. This or url is required.", `"array.example.com"`},
		"url":                  {"Instead of address, login, pod, transport and hostgroup, in the form that other tools use. The file must have mode 0600 then.", `"https://user:password@array.example.com/api?transport=nvme-tcp"`},
		"api_token":            {"An API token of the array. The file must have mode 0600 then.", `"..."`},
		"api_token_file":       {"The token " + secretFileText, `"/etc/volbridge/flash.token"`},
		"api_token_credential": {"The token " + secretCredentialText, `"flash-token"`},
		"user":                 {"Instead of a token: the user's name.", `"volbridge"`},
		"password":             {"The user's password. The file must have mode 0600 then.", `"..."`},
		"password_file":        {"The password " + secretFileText, `"/etc/volbridge/flash.password"`},
		"password_credential":  {"The password " + secretCredentialText, `"flash-password"`},
		"pod":                  {"The pool is this pod. Without it, all volumes that are in no pod.", `"vms"`},
		"hostgroup":            {"Connect volumes to this host group, once and for good.", `"kvm"`},
		"transport":            {"How hosts reach the volumes: nvme-tcp. Beside address that is meant; a url has to say it, or this key.", `"nvme-tcp"`},
		"portals":              {"Addresses of the data ports. Without them the array is asked.", `["192.0.2.10", "192.0.2.11:4420"]`},
		"ctrl_loss_timeout":    {"How long the kernel tries to get a lost path back; \"never\": it does not give up. Without it the kernel's own.", `"10m"`},
		"fast_io_fail_timeout": {"How long I/O waits for a lost path. 0s leaves the kernel's own.", ""},
		"create_host":          {"Make a host object on the array for this host if there is none.", ""},
		"eradicate":            {"Remove a deleted volume at once. Without it the array keeps it for its own time.", ""},
		"default_protection":   {"New volumes join the array's default protection groups.", ""},
		"tls_verify":           {"Verify the array's certificate.", ""},
		"ca_file":              {"Authority of that certificate. Without it those that the system trusts.", `"/etc/volbridge/flash-ca.pem"`},
		"call_timeout":         {"Deadline of one call to the array.", ""},
		"connections":          {"How many calls one process makes at once.", ""},
		"session_dir":          {"Where the processes of this host share a login. Empty: each logs in by itself.", ""},
	},
	"drbd": {
		"resources": {"Patterns of the resources that belong to the pool. Without them all do.", `["vm-*"]`},
		"timeout":   {"Of one call of drbdadm or drbdsetup.", ""},
	},
	"linstor": {
		"controllers":         {"The cluster's controllers: host, host:port or a URL. One of them answers. Required.", `["linstor1.example.com", "linstor2.example.com"]`},
		"resource_group":      {"Group that new volumes are made of. Required.", `"vms"`},
		"prefix":              {"The names of all resources of this pool begin with it.", `"vm-"`},
		"node":                {"LINSTOR's name of this host. Without it the host's name.", `"kvm01"`},
		"diskful":             {"Each host that uses a volume gets a replica of its own, which stays. Without it, a diskless client.", ""},
		"user":                {"Name of the user, if the controller asks for one.", `"volbridge"`},
		"password":            {"The user's password. The file must have mode 0600 then.", `"..."`},
		"password_file":       {"The password " + secretFileText, `"/etc/volbridge/linstor.password"`},
		"password_credential": {"The password " + secretCredentialText, `"linstor-password"`},
		"token":               {"Instead of a user: a token. The file must have mode 0600 then.", `"..."`},
		"token_file":          {"The token " + secretFileText, `"/etc/volbridge/linstor.token"`},
		"token_credential":    {"The token " + secretCredentialText, `"linstor-token"`},
		"tls":                 {"Ask controllers that are given without a scheme over https.", ""},
		"tls_verify":          {"Verify the controllers' certificate.", ""},
		"ca_file":             {"Authority of that certificate. Without it those that the system trusts.", `"/etc/volbridge/linstor-ca.pem"`},
		"cert_file":           {"This host's own certificate, if the controller asks for one.", `"/etc/volbridge/linstor.crt"`},
		"key_file":            {"Its key.", `"/etc/volbridge/linstor.key"`},
		"call_timeout":        {"Deadline of one call to a controller.", ""},
	},
}

// configTables is the whole configuration: what can stand in it, with the
// defaults as they are in the code.
func (a *app) configTables() []configTable {
	d := config.Default()
	defaults := map[string]any{
		"log_level": d.LogLevel, "state_dir": d.StateDir, "run_dir": d.RunDir,
		"prepare": d.Timeouts.Prepare, "migrate": d.Timeouts.Migrate, "release": d.Timeouts.Release,
		"device": d.Timeouts.Device, "lock": d.Timeouts.Lock, "pending_age": d.Timeouts.PendingAge,
	}
	top := configTable{}
	for _, k := range globalKeys {
		top.keys = append(top.keys, newConfigKey(k.name, k.keyText, defaults[k.name]))
	}
	times := configTable{header: "timeouts", what: "How long something may take."}
	for _, k := range timeoutKeys {
		times.keys = append(times.keys, newConfigKey(k.name, k.keyText, defaults[k.name]))
	}
	tables := []configTable{top, times}
	for _, driver := range a.drivers {
		text := poolTexts[driver.Type]
		t := configTable{header: "pool." + text.name, what: text.what}
		t.keys = append(t.keys, configKey{name: "type", what: "The kind of pool. Required.", value: fmt.Sprintf("%q", driver.Type)})
		settings := driver.Settings()
		for _, name := range tomlKeys(settings) {
			t.keys = append(t.keys, newConfigKey(name, poolKeyTexts[driver.Type][name], tomlValue(settings, name)))
		}
		tables = append(tables, t)
	}
	return tables
}

// tomlValue is what a driver's settings have for a key before anything is read.
func tomlValue(settings any, key string) any {
	v := reflect.Indirect(reflect.ValueOf(settings))
	for i := range v.NumField() {
		if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("toml"), ","); name == key {
			return v.Field(i).Interface()
		}
	}
	return nil
}

// newConfigKey takes the default for the value, or the example where the default
// would say nothing.
func newConfigKey(name string, text keyText, value any) configKey {
	k := configKey{name: name, what: text.what, value: text.example}
	if text.example == "" {
		k.value, k.isDefault = tomlText(value), true
	}
	return k
}

// tomlText writes a default as it would stand in the file.
func tomlText(value any) string {
	switch v := reflect.ValueOf(value); {
	case !v.IsValid():
		return `""`
	case v.Kind() == reflect.Bool || v.Kind() == reflect.Int && !hasText(value):
		return fmt.Sprint(value)
	case v.Kind() == reflect.String:
		return fmt.Sprintf("%q", v.String())
	}
	return fmt.Sprintf("%q", fmt.Sprint(value))
}

func hasText(value any) bool {
	_, ok := value.(fmt.Stringer)
	return ok
}
