package config

import (
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what is shown of a secret.
const Redacted = "[secret]"

// Secret is a password or token in a driver's settings. It shows itself to
// nobody but the caller of Reveal: not to fmt with any verb, nor to JSON,
// TOML, XML or a logger. The value is behind a pointer, because fmt does not
// ask the methods of what is in an unexported field of another struct.
type Secret struct{ value *string }

// NewSecret makes a secret.
func NewSecret(value string) Secret { return Secret{&value} }

// Reveal returns the value; only what sends it to the array calls this.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty says whether there is no value.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// String and the other methods below hide the value.
func (s Secret) String() string { return Redacted }

// GoString hides the value from %#v.
func (s Secret) GoString() string { return Redacted }

// Format hides the value from every verb of fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// MarshalText hides the value from JSON, TOML, XML and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// LogValue hides the value from log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(Redacted) }

// UnmarshalText takes the value from the file.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
