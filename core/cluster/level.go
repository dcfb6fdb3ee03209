package cluster

import (
	"fmt"
	"slices"
	"strings"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

// CheckLevel refuses a state whose stored formats are of a newer level than this instard reads (0:
// core.Level): it would misunderstand what others write, and write what they do not expect.
func CheckLevel(r state.Reader, level int, version string) error {
	if level == 0 {
		level = core.Level
	}
	cluster, there := object(r)
	if !there || cluster.Level <= level {
		return nil
	}
	return core.Errorf(core.CodeUnsupported, "the cluster is at level %d of stored formats, this instard (%s) reads up to level %d", cluster.Level, version, level).
		WithHint("%s", needed(r, cluster.Level))
}

// needed says which instard reads the formats of a level.
func needed(r state.Reader, level int) string {
	runs := map[string][]string{} // nodes by version
	for name, node := range state.Nodes.All(r) {
		if m, there := state.Members.Get(r, name); there && m.State != core.MemberRemoved && max(node.Level, 1) >= level {
			runs[node.Version] = append(runs[node.Version], name)
		}
	}
	var known []string
	for version, nodes := range runs {
		slices.Sort(nodes)
		known = append(known, fmt.Sprintf("instard %s as on %s", version, strings.Join(nodes, ", ")))
	}
	slices.Sort(known)
	if len(known) == 0 {
		return fmt.Sprintf("install an instard that reads stored formats of level %d", level)
	}
	return "install " + strings.Join(known, ", or ") + ", or a newer one"
}
