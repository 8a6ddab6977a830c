package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/pelletier/go-toml/v2/unstable"
)

// ErrThere: the file has a pool of this name already.
var ErrThere = errors.New("there is a pool of this name already")

// ErrNotThere: the file has no pool of this name.
var ErrNotThere = errors.New("there is no pool of this name")

// AppendPool returns the text with a table at its end, and every byte of before
// as it was. name is the table's, see Table.
func AppendPool(text []byte, name string, table []byte) ([]byte, error) {
	parts, err := cut(text)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		if names(p.path, name) {
			return nil, fmt.Errorf("pool %s, line %d: %w", name, p.line, ErrThere)
		}
	}
	out := slices.Clone(text)
	if len(out) > 0 && !bytes.HasSuffix(out, []byte("\n")) {
		out = append(out, '\n')
	}
	if len(out) > 0 {
		out = append(out, '\n')
	}
	return append(out, table...), nil
}

// RemovePool returns the text without the table of a pool, from its header to
// its last key, and without one empty line above it. Comments below the last key
// stay: they may belong to what follows. A pool that is written in another way
// than as one table is left to a person.
func RemovePool(text []byte, name string) ([]byte, error) {
	parts, err := cut(text)
	if err != nil {
		return nil, err
	}
	var mine []part
	for _, p := range parts {
		if names(p.path, name) || !p.header && len(p.path) == 1 && p.path[0] == "pool" {
			mine = append(mine, p)
		}
	}
	switch {
	case len(mine) == 0:
		return nil, fmt.Errorf("pool %s: %w", name, ErrNotThere)
	case len(mine) > 1 || !mine[0].header || len(mine[0].path) != 2:
		return nil, fmt.Errorf("pool %s is not one table [pool.%[1]s] with its keys below, but more (line %d): remove it with an editor", name, mine[len(mine)-1].line)
	}
	from, to := lineStart(text, mine[0].from), lineEnd(text, mine[0].to)
	return append(slices.Clone(text[:aboveEmpty(text, from)]), text[to:]...), nil
}

// part is a table with its keys, or a key outside the tables of pools.
type part struct {
	path     []string
	header   bool
	line     int
	from, to int // bytes of the text
}

// cut finds the tables of a text; the keys of [pool] and those before the first
// table are parts of their own.
func cut(text []byte) (list []part, err error) {
	var p unstable.Parser
	p.Reset(text)
	var table []string
	for p.NextExpression() {
		n := p.Expression()
		path, at := keyOf(n)
		switch n.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = path
			list = append(list, part{path, true, lineOf(text, int(at)), int(at), int(at)})
		case unstable.KeyValue:
			end := int(n.Raw.Offset + n.Raw.Length)
			if len(table) > 1 {
				list[len(list)-1].to = end
				continue
			}
			full := append(slices.Clone(table), path...)
			list = append(list, part{full, false, lineOf(text, int(at)), int(at), end})
		}
	}
	var broken *unstable.ParserError
	if errors.As(p.Error(), &broken) {
		return nil, fmt.Errorf("line %d: %s: correct the file first; 'volbridge pool check' names all mistakes", lineOf(text, int(p.Range(broken.Highlight).Offset)), broken.Message)
	}
	return list, p.Error()
}

// names says whether a part is of the pool, or of all pools in one.
func names(path []string, name string) bool {
	return path[0] == "pool" && len(path) > 1 && path[1] == name
}

func lineOf(text []byte, at int) int { return 1 + bytes.Count(text[:at], []byte{'\n'}) }

func lineStart(text []byte, at int) int { return bytes.LastIndexByte(text[:at], '\n') + 1 }

func lineEnd(text []byte, at int) int {
	if n := bytes.IndexByte(text[at:], '\n'); n >= 0 {
		return at + n + 1
	}
	return len(text)
}

// aboveEmpty is where the empty line above a line begins, if there is one.
func aboveEmpty(text []byte, at int) int {
	for _, empty := range []string{"\n", "\r\n"} {
		above, has := bytes.CutSuffix(text[:at], []byte(empty))
		if has && (len(above) == 0 || above[len(above)-1] == '\n') {
			return len(above)
		}
	}
	return at
}
