package config

import (
	"encoding"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// fill decodes one value into the field of target that path leads to, and says
// what is wrong with it. path is the key within target.
func fill(target any, path []string, e entry) (text string) {
	field, known := fieldType(reflect.TypeOf(target).Elem(), path)
	if field == nil {
		return "unknown key: " + alternatives(known)
	}
	if text := mismatch(field, e.kind); text != "" {
		return text
	}
	statement := dotted(path) + " = " + string(e.raw) + "\n"
	err := toml.NewDecoder(strings.NewReader(statement)).DisallowUnknownFields().Decode(target)
	return foreign(err)
}

func alternatives(known []string) string {
	if len(known) == 0 {
		return "nothing can be set here"
	}
	slices.Sort(known)
	return "possible here: " + strings.Join(known, ", ")
}

// foreign takes the words of the decoder without its decoration.
func foreign(err error) string {
	if err == nil {
		return ""
	}
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		return "unknown key " + strings.Join(unknown.Errors[0].Key(), ".")
	}
	return strings.TrimPrefix(err.Error(), "toml: ")
}

// fieldType follows a key through structs and maps by the exact names of the
// toml tags (the decoder itself ignores case, by which one key could be given
// twice). If there is none it returns what the keys at that point are.
func fieldType(t reflect.Type, path []string) (field reflect.Type, known []string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if len(path) == 0 {
		return t, nil
	}
	switch {
	case isText(t):
		return nil, nil
	case t.Kind() == reflect.Map:
		return fieldType(t.Elem(), path[1:])
	case t.Kind() != reflect.Struct:
		return nil, nil
	}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		if name == path[0] {
			return fieldType(f.Type, path[1:])
		}
		known = append(known, name)
	}
	return nil, known
}

var (
	textType   = reflect.TypeFor[encoding.TextUnmarshaler]()
	secretType = reflect.TypeFor[Secret]()
)

func isText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textType) }

// mismatch says what kind of value a field wants if it got another.
func mismatch(field reflect.Type, got unstable.Kind) string {
	want, ok := wanted(field, got)
	if ok {
		return ""
	}
	return "must be " + want + ", not " + kindNames[got]
}

func wanted(field reflect.Type, got unstable.Kind) (want string, ok bool) {
	if isText(field) {
		return "a text in quotes", got == unstable.String
	}
	switch field.Kind() {
	case reflect.String:
		return "a text in quotes", got == unstable.String
	case reflect.Bool:
		return "true or false", got == unstable.Bool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number", got == unstable.Integer
	case reflect.Float32, reflect.Float64:
		return "a number", got == unstable.Integer || got == unstable.Float
	case reflect.Slice, reflect.Array:
		return "a list in brackets", got == unstable.Array
	case reflect.Struct, reflect.Map:
		return "a table", false
	}
	return "", true
}

var kindNames = map[unstable.Kind]string{
	unstable.String:        "a text",
	unstable.Bool:          "true or false",
	unstable.Integer:       "a number",
	unstable.Float:         "a number with a fraction",
	unstable.Array:         "a list",
	unstable.LocalDate:     "a date",
	unstable.LocalTime:     "a time of day",
	unstable.LocalDateTime: "a date",
	unstable.DateTime:      "a date",
}

// holdsSecret says whether a value in the file must not be read by others.
func holdsSecret(target any, path []string, e entry) bool {
	field, _ := fieldType(reflect.TypeOf(target).Elem(), path)
	for field != nil && (field.Kind() == reflect.Slice || field.Kind() == reflect.Pointer) {
		field = field.Elem()
	}
	return field == secretType && string(e.raw) != `""` && string(e.raw) != `''`
}
