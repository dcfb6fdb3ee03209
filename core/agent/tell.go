package agent

import (
	"context"
	"time"

	"github.com/instarhq/instar/core"
)

const (
	// tellBeat is when a node reports how far its fetches are: what several have to say then goes into one transaction,
	// or two.
	tellBeat = time.Second
	// tellShare makes a fetch that takes long be reported less often: after a twentieth of the time that it has taken. Each
	// report is a record for ever, and a pull of an hour leaves about a hundred and fifty of them.
	tellShare = 20
)

// tell reports how far the fetch is until it ends, or ctx does. Nothing is reported that has not changed, and nothing of a
// fetch that is done within a beat.
func (f *fetch) tell(ctx context.Context, beats time.Time, tell func(*core.Fetch)) {
	began := time.Now()
	var last *core.Fetch
	next := time.NewTimer(untilTelling(began, began, beats))
	defer next.Stop()
	for {
		select {
		case <-f.done:
			tell(nil)
			return
		case <-ctx.Done():
			return
		case now := <-next.C:
			if sofar := f.sofar.Load(); sofar != nil && (last == nil || *sofar != *last) {
				tell(sofar)
				last = sofar
			}
			next.Reset(untilTelling(now, began, beats))
		}
	}
}

// untilTelling is how long after now a fetch that has begun at a time is reported, in step with beats.
func untilTelling(now, began, beats time.Time) time.Duration {
	at := now.Add(max(tellBeat, now.Sub(began)/tellShare)).Sub(beats)
	return (at + tellBeat - 1).Truncate(tellBeat) - now.Sub(beats)
}
