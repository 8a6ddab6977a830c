package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// checked is a reply that knows more of what it must have than its types say.
type checked interface{ check() error }

// decode reads exactly one JSON value into out, a pointer, which it leaves
// alone when that fails. Numbers of untyped fields stay json.Number, and an
// integer field takes neither a fraction nor an exponent: sizes have 64 bits.
func decode(body []byte, out any) error {
	target := reflect.ValueOf(out)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("cannot decode into %T", out)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return errors.New("it is empty")
	}
	fresh := reflect.New(target.Type().Elem())
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(fresh.Interface()); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows after its end")
	}
	if c, ok := fresh.Interface().(checked); ok {
		if err := c.check(); err != nil {
			return err
		}
	}
	target.Elem().Set(fresh.Elem())
	return nil
}

// skipped looks at a reply that nobody reads, and that may be empty: one that
// is no JSON comes from somebody else than the array, who did nothing.
func skipped(body []byte) error {
	if len(bytes.TrimSpace(body)) > 0 && !json.Valid(body) {
		return errors.New("it is no JSON")
	}
	return nil
}
