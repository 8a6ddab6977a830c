package rest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Cache remembers until the next boot what the array was last seen to have: the
// name of this host there, its portals, the volume of a serial. The processes
// of a host share it where they share a session. It is a hint and no truth: who
// acts upon an entry must notice when the array says otherwise, and Forget it.
// It holds no secrets.
//
// Each key is a file of its own, replaced as a whole, so nobody needs a lock.
type Cache struct {
	dir string // "": only in memory

	mu     sync.Mutex
	memory map[string][]byte
}

// cacheEntry is one file.
type cacheEntry struct {
	Key   string          `json:"key"`
	Since time.Time       `json:"since"`
	Value json.RawMessage `json:"value"`
}

// Cache of this array.
func (c *Client) Cache() *Cache { return c.cache }

// Load decodes the entry into out, a pointer, and says since when it is there.
// An entry that is missing or damaged gives false and leaves out alone.
func (c *Cache) Load(key string, out any) (since time.Time, ok bool) {
	data, err := c.read(key)
	if err != nil {
		return time.Time{}, false
	}
	var e cacheEntry
	if json.Unmarshal(data, &e) != nil || e.Key != key || decode(e.Value, out) != nil {
		return time.Time{}, false
	}
	return e.Since, true
}

// Store replaces the entry. An error costs a call later, no more.
func (c *Cache) Store(key string, value any) error {
	data, err := json.Marshal(value)
	if err == nil {
		data, err = json.Marshal(cacheEntry{Key: key, Since: time.Now(), Value: data})
	}
	if err == nil {
		err = c.write(key, data)
	}
	if err != nil {
		return fmt.Errorf("remember %s: %w", key, err)
	}
	return nil
}

// Forget removes the entry.
func (c *Cache) Forget(key string) error {
	if c.dir == "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.memory, key)
		return nil
	}
	if err := removePrivate(c.file(key)); err != nil {
		return fmt.Errorf("forget %s: %w", key, err)
	}
	return nil
}

func (c *Cache) file(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(c.dir, hex.EncodeToString(sum[:16])+".json")
}

func (c *Cache) read(key string) ([]byte, error) {
	if c.dir != "" {
		return readPrivate(c.file(key))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.memory[key]), nil
}

func (c *Cache) write(key string, data []byte) error {
	if c.dir == "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.memory[key] = data
		return nil
	}
	if len(data) > maxPrivateBytes {
		return fmt.Errorf("%d bytes are too many", len(data))
	}
	file := c.file(key)
	if err := privateDir(c.dir); err != nil { // the folder of the session
		return err
	}
	if err := os.Mkdir(c.dir, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	if err := privateDir(file); err != nil {
		return err
	}
	return writePrivate(file, data)
}
