package linstor

import "github.com/volbridge/volbridge/pool/settings"

// Management implements pool.Managed.
func (b *backend) Management() (list []string) {
	for _, u := range b.settings.controllers(settings.Findings{}) {
		list = append(list, u.String())
	}
	return list
}
