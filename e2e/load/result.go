package load

import (
	"fmt"
	"slices"
	"time"
)

// Result is everything that a run recorded.
type Result struct {
	Start   time.Time
	Records []Record
	Judged  bool // answers were asked for their revision

	Sessions int // WebSocket sessions opened
	Moved    int // of them ended by the server with 1001; a clean end
	Lost     int // of them ended in any other way than a clean close
	Repeated int // HTTP/2 requests that were sent again as the protocol allows

	details []string
}

// Failed counts the failures.
func (r *Result) Failed() int {
	n := 0
	for i := range r.Records {
		if r.Records[i].Outcome != OK {
			n++
		}
	}
	return n
}

// Failures describes the first failures, at most limit of them, one a line.
func (r *Result) Failures(limit int) []string {
	var lines []string
	for i := range r.Records {
		record := &r.Records[i]
		if record.Outcome == OK {
			continue
		}
		if len(lines) == limit {
			break
		}
		lines = append(lines, r.describe(record))
	}
	return lines
}

func (r *Result) describe(record *Record) string {
	detail := ""
	if record.detail > 0 {
		detail = r.details[record.detail-1]
	}
	return fmt.Sprintf("%s %s: %s (revision %d, after %s): %s", r.Start.Add(record.Begin).Format("15:04:05.000"),
		record.Kind, record.Outcome, record.Revision, (record.End - record.Begin).Round(time.Microsecond), detail)
}

// WrongRevision describes the good answers that came from a revision which was not active at any time
// between the request's begin and the answer's first byte. Echoes belong to the revision that their
// session was opened with, so only its handshake is judged.
func (r *Result) WrongRevision(timeline Timeline) []string {
	if !r.Judged {
		return nil
	}
	var wrong []string
	for i := range r.Records {
		record := &r.Records[i]
		if record.Outcome != OK || record.Kind == Echo {
			continue
		}
		begin, first := r.Start.Add(record.Begin), r.Start.Add(record.FirstByte)
		if !timeline.Active(int(record.Revision), begin, first) {
			wrong = append(wrong, fmt.Sprintf("%s %s: answered by revision %d at %s",
				begin.Format("15:04:05.000000"), record.Kind, record.Revision, first.Format("15:04:05.000000")))
		}
	}
	return wrong
}

// LastTo is when the last request was sent that the revision answered, among those sent in the window;
// the zero time if there is none. Echoes do not count.
func (r *Result) LastTo(revision int, within Window) time.Time {
	var last time.Time
	for i := range r.Records {
		record := &r.Records[i]
		begin := r.Start.Add(record.Begin)
		if int(record.Revision) == revision && record.Kind != Echo && within.contains(begin) && begin.After(last) {
			last = begin
		}
	}
	return last
}

// Window is a span of time, To excluded.
type Window struct{ From, To time.Time }

func (w Window) contains(t time.Time) bool { return !t.Before(w.From) && t.Before(w.To) }

// Percentile is the latency that the share p (0..1) of the requests intended within the windows kept
// under, whatever became of them; no window means the whole run. Opening a WebSocket does not count: it
// has no schedule. It returns 0 if there was no request.
func (r *Result) Percentile(p float64, windows ...Window) time.Duration {
	var latencies []time.Duration
	for i := range r.Records {
		record := &r.Records[i]
		if record.Kind != WebSocket && r.inside(record, windows) {
			latencies = append(latencies, record.Latency())
		}
	}
	return percentile(latencies, p)
}

func (r *Result) inside(record *Record, windows []Window) bool {
	if len(windows) == 0 {
		return true
	}
	intended := r.Start.Add(record.Intended)
	return slices.ContainsFunc(windows, func(w Window) bool { return w.contains(intended) })
}

// percentile sorts the latencies and picks by the nearest-rank method.
func percentile(latencies []time.Duration, p float64) time.Duration {
	if len(latencies) == 0 {
		return 0
	}
	slices.Sort(latencies)
	rank := int(p*float64(len(latencies)) + 0.999999)
	return latencies[min(max(rank, 1), len(latencies))-1]
}

// KindSummary is what became of one kind of request.
type KindSummary struct {
	Kind             Kind
	Requests, Failed int
	P50, P99, Max    time.Duration
}

// Summary sums up each kind that occurred, in the order of the kinds.
func (r *Result) Summary() []KindSummary {
	var rows []KindSummary
	for kind := KeepAlive; kind <= Echo; kind++ {
		row := KindSummary{Kind: kind}
		var latencies []time.Duration
		for i := range r.Records {
			record := &r.Records[i]
			if record.Kind != kind {
				continue
			}
			row.Requests++
			if record.Outcome != OK {
				row.Failed++
			}
			latencies = append(latencies, record.Latency())
		}
		if row.Requests == 0 {
			continue
		}
		row.P50, row.P99, row.Max = percentile(latencies, 0.5), percentile(latencies, 0.99), percentile(latencies, 1)
		rows = append(rows, row)
	}
	return rows
}
