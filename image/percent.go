package image

import (
	"bytes"
	"strconv"
	"strings"
)

// percentages reads what `qemu-img -p` prints: "    (12.34/100%)", a carriage
// return after each.
type percentages struct {
	tell func(percent float64) // nil: nobody
	rest []byte
}

func (p *percentages) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	for {
		end := bytes.IndexAny(p.rest, "\r\n")
		if end < 0 {
			break
		}
		p.line(string(p.rest[:end]))
		p.rest = p.rest[end+1:]
	}
	if len(p.rest) > saidBytes {
		p.rest = nil // no such line
	}
	return len(b), nil
}

func (p *percentages) line(text string) {
	text, ok := strings.CutPrefix(strings.TrimSpace(text), "(")
	text, whole := strings.CutSuffix(text, "/100%)")
	if !ok || !whole || p.tell == nil {
		return
	}
	if percent, err := strconv.ParseFloat(text, 64); err == nil && percent >= 0 && percent <= 100 {
		p.tell(percent)
	}
}

// end says that all is done: the tool's last percentage may be a little less.
func (p *percentages) end() {
	if p.tell != nil {
		p.tell(100)
	}
}
