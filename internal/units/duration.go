package units

import (
	"fmt"
	"time"
)

// Duration is a span of time in a configuration file: "30s", "5m", "1h30m".
type Duration time.Duration

// UnmarshalText reads a duration that is not negative; the unit must be there.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("duration %q: write a number with its unit: 500ms, 30s, 5m, 1h", text)
	}
	if v < 0 {
		return fmt.Errorf("duration %q: must not be negative", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// String writes the duration as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }
