package drbdtools

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// TwoPrimariesAllowed says whether the kernel of this host allows two
// Primaries now, on any connection of the resource that State gave s for. One
// that is not up allows none.
func (t Tools) TwoPrimariesAllowed(ctx context.Context, s State) (bool, error) {
	resource := s.Resource
	if err := checkResource(resource); err != nil {
		return false, err
	}
	// For a resource that is not up drbdsetup 8.4 fails without a word.
	if len(s.Devices) == 0 && len(s.Peers) == 0 {
		return false, nil
	}
	out, err := t.run(ctx, "drbdsetup", "show", resource)
	if err != nil {
		return false, err
	}
	allowed, err := parseTwoPrimaries(out)
	if err != nil {
		return false, fmt.Errorf("drbdsetup show %s: %w; is this version of drbd-utils supported?", resource, err)
	}
	return allowed, nil
}

const maxDepth = 16

// parseTwoPrimaries looks for allow-two-primaries in the net sections, which
// 8.4 has in the resource and 9 in each connection. What has the default is
// not shown.
func parseTwoPrimaries(out []byte) (allowed bool, err error) {
	p := showParser{rest: out}
	var sections []string // the ones that are open, by their first word
	var statement []string
	for {
		token, err := p.next()
		switch {
		case err != nil:
			return false, err
		case token == "" && (len(sections) > 0 || len(statement) > 0):
			return false, errors.New("the answer has no end")
		case token == "":
			return allowed, nil
		case token == "{":
			if len(statement) == 0 || len(sections) == maxDepth {
				return false, errors.New("a section without a name, or too deep")
			}
			sections, statement = append(sections, statement[0]), nil
		case token == "}":
			if len(sections) == 0 || len(statement) > 0 {
				return false, errors.New("a section ends too early")
			}
			sections = sections[:len(sections)-1]
		case token == ";":
			if len(sections) > 0 && sections[len(sections)-1] == "net" && isTwoPrimaries(statement) {
				allowed = true
			}
			statement = nil
		default:
			statement = append(statement, token)
		}
	}
}

func isTwoPrimaries(statement []string) bool {
	return len(statement) > 0 && statement[0] == "allow-two-primaries" && (len(statement) == 1 || statement[1] != "no")
}

// showParser cuts into words, quoted words, and { } ; as words of their own.
type showParser struct{ rest []byte }

// next returns "" at the end.
func (p *showParser) next() (string, error) {
	p.skip()
	if len(p.rest) == 0 {
		return "", nil
	}
	switch c := p.rest[0]; c {
	case '{', '}', ';':
		p.rest = p.rest[1:]
		return string(c), nil
	case '"':
		return p.quoted()
	}
	n := bytes.IndexAny(p.rest, " \t\r\n{};\"#")
	if n < 0 {
		n = len(p.rest)
	}
	word := string(p.rest[:n])
	p.rest = p.rest[n:]
	return word, nil
}

// skip leaves spaces and comments out.
func (p *showParser) skip() {
	for {
		p.rest = bytes.TrimLeft(p.rest, " \t\r\n")
		if !bytes.HasPrefix(p.rest, []byte("#")) {
			return
		}
		_, p.rest, _ = bytes.Cut(p.rest, []byte("\n"))
	}
}

// quoted keeps the quotes, so that no text is taken for a sign or the end.
func (p *showParser) quoted() (string, error) {
	for i := 1; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '\\':
			i++
		case '"':
			word := string(p.rest[:i+1])
			p.rest = p.rest[i+1:]
			return word, nil
		}
	}
	return "", errors.New("a quoted text has no end")
}
