package load

import "time"

// Interval says that a revision was active from From on, up to To; a zero To means still.
type Interval struct {
	Revision int
	From, To time.Time
}

// Timeline says which revisions were active when. Between the commit of a switch and its confirmation
// by every data plane two are, so intervals overlap.
type Timeline []Interval

// NewTimeline begins a timeline with the revision that was active from the given time on.
func NewTimeline(revision int, at time.Time) Timeline {
	return Timeline{{Revision: revision, From: at}}
}

// Switch appends a switch to another revision: that one is active from the commit on, and the one
// before it until every data plane has confirmed.
func (t Timeline) Switch(to int, committed, confirmed time.Time) Timeline {
	if n := len(t); n > 0 {
		t[n-1].To = confirmed
	}
	return append(t, Interval{Revision: to, From: committed})
}

// Active reports whether the revision was active at any time from begin to end, both included.
func (t Timeline) Active(revision int, begin, end time.Time) bool {
	for _, i := range t {
		if i.Revision == revision && !end.Before(i.From) && (i.To.IsZero() || begin.Before(i.To)) {
			return true
		}
	}
	return false
}
