package config

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/volbridge/volbridge/pool"
)

// hostKey makes the ids of this application differ from those of others. It
// may never change: the holders of volumes are named by it.
const hostKey = "volbridge host id 1"

// ErrNoHostID: the machine has no id of its own.
var ErrNoHostID = errors.New("this machine has no id")

var machineID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Host says how this machine names itself to pools: host_name and host_id of
// the configuration, else the kernel's host name and a hash of the machine id
// (which machine-id(5) asks not to show to others). root is "/".
func (c *Config) Host(root string) (pool.Host, error) {
	name, id := c.HostName, c.HostID
	var err error
	if name == "" {
		if name, err = kernelName(root); err != nil {
			return pool.Host{}, err
		}
	}
	if id == "" {
		if id, err = hashedID(root); err != nil {
			return pool.Host{}, err
		}
	}
	return pool.Host{Name: name, ID: id}, nil
}

func kernelName(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "proc/sys/kernel/hostname"))
	if err != nil {
		return "", fmt.Errorf("read the host's name: %w", err)
	}
	name := strings.TrimSpace(string(text))
	if !hostPattern.MatchString(name) {
		return "", fmt.Errorf("the host's name %q cannot be used: set it with hostnamectl, or write host_name into the configuration", name)
	}
	return name, nil
}

func hashedID(root string) (string, error) {
	const remedy = "run 'systemd-machine-id-setup', or write host_id into the configuration"
	file := filepath.Join(root, "etc/machine-id")
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%w: %w: %s", ErrNoHostID, err, remedy)
	}
	id := strings.TrimSpace(string(text))
	if !machineID.MatchString(id) {
		return "", fmt.Errorf("%w: %s is empty or no machine id: %s", ErrNoHostID, file, remedy)
	}
	hash := hmac.New(sha256.New, []byte(hostKey))
	hash.Write([]byte(id))
	return hex.EncodeToString(hash.Sum(nil)[:16]), nil
}
