package flasharray

import (
	"regexp"
	"strings"
)

// A name has 1 to 63 letters, digits and dashes, begins and ends with a letter
// or digit, and has at least one letter or dash. Names of volumes may have
// underscores, too.
var (
	plainName  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
	volumeForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$`)
	letterThen = regexp.MustCompile(`[A-Za-z_-]`)
)

func checkName(kind, name string) *failure {
	form := plainName
	if kind == "volume" {
		form = volumeForm
	}
	if !form.MatchString(name) || !letterThen.MatchString(name) {
		return refuse(name, "Invalid %s name.", kind)
	}
	return nil
}

// splitName takes pod::volume apart; pod is "" where there is none. Volume
// groups (group/volume) are not modelled, so their names are refused.
func splitName(name string) (podName, volumeName string) {
	if p, v, found := strings.Cut(name, "::"); found {
		return p, v
	}
	return "", name
}

func (a *Array) checkVolumeName(name string) *failure {
	podName, volumeName := splitName(name)
	if podName != "" && a.pods[key(podName)] == nil {
		return refuse(podName, notExist, "Pod")
	}
	return checkName("volume", volumeName)
}
