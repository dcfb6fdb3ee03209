package progress

import (
	"fmt"

	"github.com/instarhq/instar/cmd/instar/table"
	"github.com/instarhq/instar/core"
)

// maxFetches is how many nodes are shown that get an artifact; they do it beside each other, and the slowest counts.
const maxFetches = 5

// fetchLines says for each node how far its artifact is.
func fetchLines(fetches []core.NodeFetch, style table.Style) []string {
	var out []string
	for i, f := range fetches {
		if i == maxFetches {
			return append(out, style.Faint(fmt.Sprintf("   and %d more", len(fetches)-maxFetches)))
		}
		out = append(out, style.Faint("   "+table.Pad(table.Clean(f.Node+"/"+f.Target), 15)+" has ")+Has(f.Fetch))
	}
	return out
}

// Has says how much of an artifact a node has.
func Has(f core.Fetch) string {
	if f.Total == 0 {
		return amount(f.Done) + " of the artifact"
	}
	return fmt.Sprintf("%3d %% of the artifact   %s of %s", percent(f.Done, f.Total), amount(f.Done), amount(f.Total))
}

// fetched is for a log of transitions: it changes with each tenth that the nodes together have.
func fetched(fetches []core.NodeFetch) string {
	var done, total int64
	for _, f := range fetches {
		if f.Total == 0 {
			return ", getting the artifact"
		}
		done, total = done+f.Done, total+f.Total
	}
	if total == 0 {
		return ""
	}
	return fmt.Sprintf(", %d %% of the artifact", percent(done, total)/10*10)
}

func percent(done, total int64) int64 {
	return int64(100 * (float64(min(done, total)) / float64(total)))
}

func amount(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, i := float64(n)/unit, 0
	for ; value >= unit && i < 3; i++ {
		value /= unit
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGT"[i])
}
