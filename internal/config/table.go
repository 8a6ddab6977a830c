package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/volbridge/volbridge/pool"
)

// Keys lists the keys of a driver's settings, in their order.
func Keys(d pool.Driver) (keys []string) {
	for _, f := range fields(d) {
		keys = append(keys, f.key)
	}
	return keys
}

// SecretKeys are those whose value is a secret.
func SecretKeys(d pool.Driver) (keys []string) {
	for _, f := range fields(d) {
		if f.kind == secretType {
			keys = append(keys, f.key)
		}
	}
	return keys
}

type field struct {
	key  string
	kind reflect.Type
}

func fields(d pool.Driver) (list []field) {
	for _, f := range reflect.VisibleFields(reflect.TypeOf(d.Settings()).Elem()) {
		key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if key != "" && key != "-" && f.IsExported() {
			list = append(list, field{key, f.Type})
		}
	}
	return list
}

// PoolName says whether a pool may have this name.
func PoolName(name string) error {
	if !poolPattern.MatchString(name) {
		return fmt.Errorf("%q is not a possible name of a pool: up to 40 letters, digits, '-', '_' and '.', the first no '-' and no '.'", name)
	}
	return nil
}

// Table writes [pool.NAME] with these settings, in the order of the driver's
// keys; the values of a list stand between commas. What the values are worth is
// for Parse to say, except that a number or a yes or no that is none is written
// as a text, which Parse then names.
func Table(name string, d pool.Driver, settings map[string]string) ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "[%s]\ntype = %s\n", dotted([]string{"pool", name}), quoted(d.Type))
	known := 0
	for _, f := range fields(d) {
		value, given := settings[f.key]
		if !given {
			continue
		}
		known++
		fmt.Fprintf(&b, "%s = %s\n", dotted([]string{f.key}), tomlValue(f.kind, value))
	}
	if known < len(settings) {
		return nil, fmt.Errorf("a pool of type %s has other keys: %s", d.Type, strings.Join(Keys(d), ", "))
	}
	return []byte(b.String()), nil
}

func tomlValue(kind reflect.Type, value string) string {
	switch {
	case isText(kind):
		return quoted(value)
	case kind.Kind() == reflect.Slice:
		var parts []string
		for _, part := range strings.Split(value, ",") {
			parts = append(parts, tomlValue(kind.Elem(), part))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case kind.Kind() == reflect.Bool && slices.Contains([]string{"true", "false"}, value):
		return value
	case kind.Kind() == reflect.Int && isNumber(value):
		return value
	}
	return quoted(value)
}

func isNumber(text string) bool {
	_, err := strconv.ParseUint(text, 10, 32)
	return err == nil
}

// SecretFiles are the files that the pool's settings name as places of secrets.
func (p Pool) SecretFiles() (files []string) {
	v := reflect.Indirect(reflect.ValueOf(p.Settings))
	if v.Kind() != reflect.Struct {
		return nil
	}
	secrets := SecretKeys(p.driver)
	for _, f := range reflect.VisibleFields(v.Type()) {
		key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		plain, isFile := strings.CutSuffix(key, "_file")
		if text, ok := v.FieldByIndex(f.Index).Interface().(string); ok && isFile && text != "" && slices.Contains(secrets, plain) {
			files = append(files, text)
		}
	}
	return files
}

// Mentions says whether one of the pool's settings is this text.
func (p Pool) Mentions(text string) bool {
	v := reflect.Indirect(reflect.ValueOf(p.Settings))
	if v.Kind() != reflect.Struct {
		return false
	}
	for _, f := range reflect.VisibleFields(v.Type()) {
		if value := v.FieldByIndex(f.Index); value.Kind() == reflect.String && value.String() == text {
			return true
		}
	}
	return false
}
