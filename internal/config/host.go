package config

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/volbridge/volbridge/internal/lazyregexp"
	"github.com/volbridge/volbridge/pool"
)

// hostKey makes the ids of this application differ from those of others. It
// may never change: the holders of volumes are named by it.
const hostKey = "volbridge host id 1"

// ErrNoHostID: the machine has no id of its own.
var ErrNoHostID = errors.New("this machine has no id")

var machineID = lazyregexp.New(`^[0-9a-f]{32}$`)

// Host says how this machine names itself to pools: host_name and host_id of
// the configuration, else the kernel's host name and a hash of the machine id
// (which machine-id(5) asks not to show to others); and its NVMe name, see nqn.
// root is "/".
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
	nqn, err := nqn(root, id)
	if err != nil {
		return pool.Host{}, err
	}
	return pool.Host{Name: name, ID: id, NQN: nqn}, nil
}

// hostNQNPattern is what NVMe allows, and nothing that would end an option of
// /dev/nvme-fabrics.
var hostNQNPattern = lazyregexp.New(`^nqn\.[0-9]{4}-[0-9]{2}\.[!-+\--~]+$`).AtMost(223)

// nqn is what nvme-cli calls this host, which is what the array's
// administrator sees. Where /etc/nvme/hostnqn is missing the name follows from
// the host's id, and the transport writes that file before it first connects.
func nqn(root, id string) (string, error) {
	file := filepath.Join(root, "etc/nvme/hostnqn")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return derivedNQN(id), nil
	}
	if err != nil {
		return "", fmt.Errorf("read the host's NQN: %w", err)
	}
	nqn := strings.TrimSpace(string(text))
	if !hostNQNPattern.MatchString(nqn) {
		return "", fmt.Errorf("%s does not hold a host NQN: write the output of 'nvme gen-hostnqn' into it, "+
			"or remove it to have one made", file)
	}
	return nqn, nil
}

// derivedNQN has the form of NVMe's NQNs with a UUID.
func derivedNQN(id string) string {
	sum := sha256.Sum256([]byte(hostKey + " nqn " + id))
	u := sum[:16]
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80 // RFC 9562: version 8, its variant
	return fmt.Sprintf("nqn.2014-08.org.nvmexpress:uuid:%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
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
