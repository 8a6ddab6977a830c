package flasharray

import (
	"fmt"
	"strings"
)

// Serial is a volume's serial number as the array writes it: 24 hexadecimal
// digits, upper case. All addresses of a volume follow from it.
type Serial string

const (
	serialDigits = 24
	// oui is Pure Storage's, of the IEEE.
	oui = "24a937"
	// nguidMark stands before the serial in a NGUID, nguidSplit digits of it before
	// the OUI: NVMe puts the OUI of a NGUID at its digits 16 to 21.
	nguidMark   = "00"
	nguidSplit  = 14
	nguidDigits = 32
	// naaMark is the kind of a WWN: 6, registered by IEEE, extended. A 0 fills
	// the OUI up to the seven digits that a vendor has before the serial.
	naaMark   = "6"
	wwnVendor = oui + "0"
	wwnDigits = 32
)

// ParseSerial takes a serial in upper or lower case.
func ParseSerial(text string) (Serial, error) {
	if len(text) != serialDigits || !isHex(text) {
		return "", fmt.Errorf("serial %q: must be %d hexadecimal digits", clip(text), serialDigits)
	}
	return Serial(strings.ToUpper(text)), nil
}

// NGUID is what the volume's namespace says of itself, lower case.
func (s Serial) NGUID() string {
	digits := strings.ToLower(string(s))
	return nguidMark + digits[:nguidSplit] + oui + digits[nguidSplit:]
}

// ParseNGUID takes a NGUID back to the serial. It may be written in upper case,
// and with the prefix "eui." of the kernel. One that is not of a FlashArray's
// volume is refused.
func ParseNGUID(text string) (Serial, error) {
	digits := strings.ToLower(text)
	digits = strings.TrimPrefix(digits, "eui.")
	ouiAt := len(nguidMark) + nguidSplit
	switch {
	case len(digits) != nguidDigits || !isHex(digits):
		return "", fmt.Errorf("NGUID %q: must be %d hexadecimal digits", clip(text), nguidDigits)
	case !strings.HasPrefix(digits, nguidMark) || digits[ouiAt:ouiAt+len(oui)] != oui:
		return "", fmt.Errorf("NGUID %q: not of a FlashArray: digits %s at the begin and %s at %d are missing", text, nguidMark, oui, ouiAt)
	}
	return ParseSerial(digits[len(nguidMark):ouiAt] + digits[ouiAt+len(oui):])
}

// WWN is what the volume's SCSI disk says of itself (page 0x83, NAA), lower
// case and without 0x.
func (s Serial) WWN() string { return naaMark + wwnVendor + strings.ToLower(string(s)) }

// ParseWWN takes a WWN back to the serial. It may be written in upper case, and
// with the prefix 0x or naa. of tools.
func ParseWWN(text string) (Serial, error) {
	digits := strings.ToLower(text)
	for _, prefix := range []string{"0x", "naa."} {
		if rest, ok := strings.CutPrefix(digits, prefix); ok {
			digits = rest
			break
		}
	}
	switch {
	case len(digits) != wwnDigits || !isHex(digits):
		return "", fmt.Errorf("WWN %q: must be %d hexadecimal digits", clip(text), wwnDigits)
	case !strings.HasPrefix(digits, naaMark+wwnVendor):
		return "", fmt.Errorf("WWN %q: not of a FlashArray: it does not begin with %s", text, naaMark+wwnVendor)
	}
	return ParseSerial(digits[len(naaMark+wwnVendor):])
}

func isHex(text string) bool {
	for _, b := range []byte(text) {
		if !('0' <= b && b <= '9' || 'a' <= b && b <= 'f' || 'A' <= b && b <= 'F') {
			return false
		}
	}
	return true
}

// clip keeps a text that may be anything short in a message.
func clip(text string) string {
	if len(text) > 64 {
		return text[:64] + "…"
	}
	return text
}
