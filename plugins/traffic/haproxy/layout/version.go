package layout

import (
	"regexp"
	"strconv"
)

var version = regexp.MustCompile(`^(\d+)\.(\d+)(?:\.(\d+))?`)

// parseVersion reads the beginning of a version; ok is false if it is none.
func parseVersion(text string) (major, minor, patch int, ok bool) {
	parts := version.FindStringSubmatch(text)
	if parts == nil {
		return 0, 0, 0, false
	}
	number := func(i int) int {
		n, err := strconv.Atoi(parts[i])
		if err != nil {
			return 0 // there is no patch in the version of a development snapshot
		}
		return n
	}
	return number(1), number(2), number(3), true
}

// Supported says whether the driver works with a version of HAProxy: maps can be committed from 2.4 on.
func Supported(text string) bool {
	major, minor, _, ok := parseVersion(text)
	return !ok || major > 2 || major == 2 && minor >= 4
}

// knowsIdleClose says whether a version has option idle-close-on-response, which came in January 2022: with
// 2.6, and with corrections of 2.4 and 2.5. A version whose number leaves doubt is taken not to have it.
func knowsIdleClose(text string) bool {
	major, minor, patch, ok := parseVersion(text)
	switch {
	case !ok || major > 2 || minor >= 6:
		return true
	case minor == 5:
		return patch >= 2
	}
	return minor == 4 && patch >= 13
}

// ShowsStopped says whether a version's show stat has the servers of a worker that was replaced.
func ShowsStopped(text string) bool {
	major, minor, _, ok := parseVersion(text)
	return !ok || major > 2 || minor >= 6
}
