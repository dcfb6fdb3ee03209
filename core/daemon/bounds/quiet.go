package bounds

import (
	"io"

	"golang.org/x/time/rate"
)

// Quiet passes on at most a few lines a second: strangers must not fill the disk with handshakes that fail.
// Each Write is one line, as package log makes them.
func Quiet(w io.Writer) io.Writer { return &quiet{w: w, limit: rate.NewLimiter(2, 10)} }

type quiet struct {
	w     io.Writer
	limit *rate.Limiter
}

func (q *quiet) Write(p []byte) (int, error) {
	if !q.limit.Allow() {
		return len(p), nil
	}
	return q.w.Write(p)
}
