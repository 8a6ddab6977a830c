// Package lazyregexp has regular expressions that are compiled when they are
// first used. The hook is a process of its own for each call, and libvirt waits
// for it: compiling what it may never use took it longer than all else before it
// began to work.
package lazyregexp

import (
	"os"
	"regexp"
	"strings"
	"sync"
)

// Regexp is a regular expression. Its methods are those of regexp.Regexp.
type Regexp struct {
	atMost  int // bytes that a text may have to match; 0: any number
	compile func() *regexp.Regexp
}

// New returns the regular expression of a text. One that is wrong panics when it
// is first used, in tests at once.
func New(text string) *Regexp {
	r := &Regexp{compile: sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })}
	if strings.HasSuffix(os.Args[0], ".test") {
		r.compile()
	}
	return r
}

// AtMost bounds how many bytes a text may have that MatchString matches. To say
// that in the expression, as {0,252}, costs as many copies of it.
func (r *Regexp) AtMost(bytes int) *Regexp {
	r.atMost = bytes
	return r
}

// MatchString is that of regexp.Regexp, within AtMost.
func (r *Regexp) MatchString(s string) bool {
	return (r.atMost == 0 || len(s) <= r.atMost) && r.compile().MatchString(s)
}

// FindIndex is that of regexp.Regexp.
func (r *Regexp) FindIndex(b []byte) []int { return r.compile().FindIndex(b) }

// FindSubmatch is that of regexp.Regexp.
func (r *Regexp) FindSubmatch(b []byte) [][]byte { return r.compile().FindSubmatch(b) }

// FindStringSubmatch is that of regexp.Regexp.
func (r *Regexp) FindStringSubmatch(s string) []string { return r.compile().FindStringSubmatch(s) }

// FindAllSubmatch is that of regexp.Regexp.
func (r *Regexp) FindAllSubmatch(b []byte, n int) [][][]byte {
	return r.compile().FindAllSubmatch(b, n)
}
