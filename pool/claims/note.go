package claims

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/volbridge/volbridge/pool"
)

const (
	holderMark = "h."
	leaveMark  = "leaving."
	format     = "1"
	fields     = 9
	noPlace    = "-"
	noName     = "~" // a value that ends with a space may lose it
	cutMark    = "~"
)

// HostPrefix begins the keys of all claims of one host.
func HostPrefix(hostID string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "claims of host %q", hostID))
	return holderMark + hex.EncodeToString(sum[:8]) + "."
}

// NewKey is the key of a new claim of a host.
func NewKey(hostID string, now time.Time) string { return newKey(HostPrefix(hostID), now) }

// newKey is one that nobody has. Of all keys the one that was made first has
// the smallest nonce, as far as the hosts' clocks agree.
func newKey(prefix string, now time.Time) string {
	return fmt.Sprintf("%s%016x%08x", prefix, uint64(now.UnixNano()), rand.Uint32())
}

func nonce(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// madeAt is when a key was made; the zero time if it does not say.
func madeAt(key string) time.Time {
	n := nonce(key)
	if len(n) < 16 {
		return time.Time{}
	}
	ns, err := strconv.ParseUint(n[:16], 16, 63)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(0, int64(ns))
}

func keysWith(notes map[string]string, prefix string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(notes)), func(k string) bool { return !strings.HasPrefix(k, prefix) })
}

// Value writes the claim in at most room characters. Only names are shortened.
func (c Claim) Value(room int) (string, error) {
	h := c.Holder
	place := noPlace
	if c.Place.Name != "" {
		place = c.Place.Name
	}
	place = string(c.Place.Mark) + place
	fixed := []string{format, string(h.Mode), strconv.FormatInt(h.Since.Unix(), 10), h.Host.ID, h.BootID, h.Owner.UUID, place}
	for i, f := range fixed {
		fixed[i] = url.PathEscape(f)
	}
	text := strings.Join(fixed, " ")
	room -= utf8.RuneCountInString(text) + 2
	if room < 2 {
		return "", fmt.Errorf("host id %q, boot %q, domain %q and place %q are too long for one note",
			clip(h.Host.ID), clip(h.BootID), clip(h.Owner.UUID), clip(place))
	}
	owner := h.Owner.Name
	if owner == "" {
		owner = noName
	}
	owner = shortened(owner, max(room/2, room-len(url.PathEscape(h.Host.Name))))
	return text + " " + shortened(h.Host.Name, room-len(owner)) + " " + owner, nil
}

// shortened escapes a text and leaves out of its end what has no room.
func shortened(text string, room int) string {
	if out := url.PathEscape(text); len(out) <= room {
		return out
	}
	out := ""
	for _, r := range text {
		next := out + url.PathEscape(string(r))
		if len(next)+len(cutMark) > room {
			break
		}
		out = next
	}
	return out + cutMark
}

func parse(key, value string) (Claim, error) {
	f := strings.Split(value, " ")
	if f[0] != format {
		return Claim{}, fmt.Errorf("it has format %q; a newer volbridge wrote it, or another program: update volbridge here", clip(f[0]))
	}
	if len(f) != fields {
		return Claim{}, fmt.Errorf("it has %d fields instead of %d", len(f), fields)
	}
	for i := range f {
		plain, err := url.PathUnescape(f[i])
		if err != nil {
			return Claim{}, fmt.Errorf("field %d: %w", i+1, err)
		}
		f[i] = plain
	}
	since, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil {
		return Claim{}, fmt.Errorf("its time is %q", clip(f[2]))
	}
	c := Claim{Key: key, Holder: pool.Holder{
		Mode: pool.AccessMode(f[1]), Since: time.Unix(since, 0),
		Host: pool.Host{ID: f[3], Name: f[7]}, BootID: f[4],
		Owner: pool.Owner{UUID: f[5], Name: f[8]},
	}}
	c.Place.Name = f[6]
	for _, m := range []Mark{Plus, Equals} {
		if name, has := strings.CutPrefix(f[6], string(m)); has {
			c.Place = Place{Name: name, Mark: m}
		}
	}
	if c.Place.Name == noPlace {
		c.Place.Name = ""
	}
	return c, c.check()
}

func (c Claim) check() error {
	h := c.Holder
	switch {
	case !h.Mode.Valid():
		return fmt.Errorf("its mode is %q", clip(string(h.Mode)))
	case h.Host.ID == "" || h.BootID == "" || h.Owner.UUID == "":
		return errors.New("it names no host, no boot or no domain")
	case !c.OfHost(h.Host.ID):
		return fmt.Errorf("its key is not one of host id %q", clip(h.Host.ID))
	}
	return nil
}

// clip keeps what others wrote short and on one line.
func clip(text string) string {
	const most = 80
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
