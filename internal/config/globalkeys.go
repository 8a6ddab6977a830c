package config

import "reflect"

// GlobalKeys lists the keys outside the pools, in the order of the code; those
// of [timeouts] as "timeouts.prepare".
func GlobalKeys() []string { return keysOf(reflect.TypeFor[settings](), "") }

func keysOf(t reflect.Type, prefix string) (keys []string) {
	for _, f := range reflect.VisibleFields(t) {
		name := prefix + f.Tag.Get("toml")
		if f.Type.Kind() == reflect.Struct {
			keys = append(keys, keysOf(f.Type, name+".")...)
			continue
		}
		keys = append(keys, name)
	}
	return keys
}
