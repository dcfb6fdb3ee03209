package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var (
	clean = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,46}[A-Za-z0-9])?$`)
	dirty = regexp.MustCompile(`[^A-Za-z0-9._-]+`)
)

// RouteName is what a route is called in HAProxy: its id if that can be a name there, or what can be of it
// and a digest.
func RouteName(id string) string {
	if clean.MatchString(id) && !strings.Contains(id, "--") {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	short := dirty.ReplaceAllString(id, "_")
	return fmt.Sprintf("%.24s--%s", short, hex.EncodeToString(sum[:6]))
}

// BackendName is the name of a route's backend; its index counts from 0.
func (r *Route) BackendName(index int) string { return fmt.Sprintf("instar-%s-p%d", r.Name, index+1) }

// SlotName is the name of a server; its index counts from 0.
func SlotName(index int) string { return fmt.Sprintf("s%d", index+1) }

// Listener is the name of the frontend for an address.
func Listener(address string) string {
	return "instar-at-" + strings.NewReplacer("[", "", "]", "").Replace(address)
}

// shapePrefix begins the name of an empty backend that tells what shape of configuration is loaded.
const shapePrefix = "instar-shape-"

// Marks says whether a backend of this name tells what shape of configuration is loaded.
func Marks(name string) bool { return strings.HasPrefix(name, shapePrefix) }

// SlotIndex is the index of a server by its name, or -1.
func SlotIndex(name string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(name, "s"))
	if err != nil {
		return -1
	}
	return n - 1
}
