package driverhost

import (
	"fmt"
	"strings"

	"github.com/instarhq/instar/core"
)

var kinds = []core.DriverKind{core.DriverCompute, core.DriverTraffic, core.DriverMetrics}

// targetKey names a target of this node.
type targetKey struct {
	kind   core.DriverKind
	driver string
	name   string
}

// String is how messages name a target: `compute "process" "local"`, as the configuration has it.
func (k targetKey) String() string {
	if k.name == "" {
		return fmt.Sprintf("target of %s %q", k.kind, k.driver)
	}
	return fmt.Sprintf("target %s %q %q", k.kind, k.driver, k.name)
}

// dir is the target's directory, under "targets". A name cannot hold the separator.
func (k targetKey) dir() string { return string(k.kind) + "_" + k.driver + "_" + k.name }

// parseDir reads the key back from a directory's name.
func parseDir(name string) (targetKey, bool) {
	parts := strings.Split(name, "_")
	if len(parts) != 3 {
		return targetKey{}, false
	}
	return targetKey{core.DriverKind(parts[0]), parts[1], parts[2]}, true
}

// binaryName is what a driver's file is called.
func binaryName(kind core.DriverKind, driver string) string {
	return "instar-" + string(kind) + "-" + driver
}
