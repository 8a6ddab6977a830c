package hooks

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/volbridge/volbridge/internal/buildinfo"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/pool"
)

// HostQuestion asks, in the place of a pool's name, who the host is. No pool is
// asked for it, so the answer comes at once. A hook that does not know the
// question answers that there is no such pool.
const HostQuestion = ".host"

// Facts are what a host says of itself to a probe. Ids are shortened hashes:
// libvirt cuts what is longer than about 1 KiB, and they are only compared.
type Facts struct {
	ID    string // Digest of pool.Host.ID
	NQN   string // Digest of pool.Host.NQN
	Build string // of the hook
	Clock time.Time
	// Pools are those of the configuration: name → "type Digest(place)".
	// Of a configuration with many it is only a part.
	Pools map[string]string
}

// maxFactsBytes leaves room for what libvirt puts before the answer.
const maxFactsBytes = 500

// Digest shortens an id so that two that differ still do.
func Digest(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:6])
}

// FactsOf are those of a host.
func FactsOf(host pool.Host, linked string, cfg *config.Config, now time.Time) Facts {
	f := Facts{ID: Digest(host.ID), NQN: Digest(host.NQN), Build: buildinfo.Version(linked), Clock: now, Pools: map[string]string{}}
	for _, p := range cfg.Pools {
		f.Pools[p.Name] = p.Type + " " + Digest(placeOf(p))
	}
	return f
}

func placeOf(p config.Pool) string {
	if at, ok := p.Settings.(interface{ Place() string }); ok {
		return at.Place()
	}
	return ""
}

// format writes the facts without a blank.
func (f Facts) format() string {
	v := url.Values{"id": {f.ID}, "nqn": {f.NQN}, "build": {f.Build}, "ms": {strconv.FormatInt(f.Clock.UnixMilli(), 10)}}
	names := make([]string, 0, len(f.Pools))
	for name := range f.Pools {
		names = append(names, name)
	}
	slices.Sort(names)
	text := v.Encode()
	for _, name := range names {
		v.Add("p", name+" "+f.Pools[name])
		if longer := v.Encode(); len(longer) <= maxFactsBytes {
			text = longer
		}
	}
	return text
}

// ParseFacts reads ProbeAnswer.Facts.
func ParseFacts(text string) (Facts, bool) {
	v, err := url.ParseQuery(text)
	ms, badTime := strconv.ParseInt(v.Get("ms"), 10, 64)
	if err != nil || badTime != nil || v.Get("id") == "" {
		return Facts{}, false
	}
	f := Facts{ID: v.Get("id"), NQN: v.Get("nqn"), Build: v.Get("build"), Clock: time.UnixMilli(ms), Pools: map[string]string{}}
	for _, p := range v["p"] {
		for i := range p {
			if p[i] == ' ' {
				f.Pools[p[:i]] = p[i+1:]
				break
			}
		}
	}
	return f, true
}
