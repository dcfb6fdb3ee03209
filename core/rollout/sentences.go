package rollout

import (
	"fmt"
	"strings"
	"time"
)

// trouble tells what the first instance of a revision that is not as it should be says, with a leading
// separator; empty if none says anything.
func (p *planner) trouble(revision int) string {
	t := p.tally(revision)
	for _, c := range troubled {
		for _, i := range t.of(c) {
			if f := p.told(i); f != nil {
				return "; " + f.Message
			}
		}
	}
	if r := p.running(); r != nil && r.To == revision && r.Failure != nil {
		return "; " + r.Failure.Message
	}
	return ""
}

// sentence is a reason in words.
func sentence(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// plural counts: "1 instance is", "3 instances are".
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// some lists at most three names.
func some(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// clock is a time as people read it.
func clock(t time.Time) string { return t.UTC().Format("15:04:05 MST") }
