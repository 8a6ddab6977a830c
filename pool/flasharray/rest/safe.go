package rest

import (
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/volbridge/volbridge/internal/config"
)

const (
	maxMessages  = 8
	maxWordRunes = 200 // libvirt cuts what a hook says after about 1 KiB
)

// safe makes foreign text fit to be shown: without the secrets that it may
// repeat, without control characters, and short.
func (c *Client) safe(text string) string {
	for _, secret := range c.secrets() {
		text = strings.ReplaceAll(text, secret, config.Redacted)
	}
	return printable(text)
}

// hide makes safe cut out a secret from now on.
func (c *Client) hide(secret string) {
	if secret == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, form := range forms(secret) {
		if !slices.Contains(c.hidden, form) {
			c.hidden = append(c.hidden, form)
		}
	}
	// A secret that contains another goes first.
	slices.SortFunc(c.hidden, func(a, b string) int { return len(b) - len(a) })
}

// forms are how a server may write what it was sent.
func forms(secret string) []string {
	list := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret)}
	if quoted, err := json.Marshal(secret); err == nil {
		list = append(list, strings.Trim(string(quoted), `"`))
	}
	return append(list, strings.Trim(strconv.Quote(secret), `"`))
}

func (c *Client) secrets() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.hidden)
}

// beginning shows how a reply begins. Secrets go before it is cut anywhere, so
// that no part of one stays.
func (c *Client) beginning(body []byte) string {
	text := []rune(c.safe(string(body)))
	return string(text[:min(len(text), 100)])
}

func printable(text string) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n++; n > maxWordRunes {
			return b.String() + "…"
		}
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}
