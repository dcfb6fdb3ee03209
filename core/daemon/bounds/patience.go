package bounds

import (
	"io"
	"net/http"
	"time"
)

const (
	// stall is how long a client may leave a body without a further byte, or an answer untaken.
	stall = 30 * time.Second
	// bodyTime is how long a body may take in all.
	bodyTime = 5 * time.Minute
)

// Patience gives every request deadlines that its streams survive: a body that does not come and an answer
// that is not taken end the request, while one that says nothing for hours because nothing happens goes on.
// endless tells the requests whose bodies may take as long as they come; nil: none.
func Patience(next http.Handler, endless func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if r.ContentLength != 0 && r.Body != nil {
			b := &body{ReadCloser: r.Body, control: control}
			if endless == nil || !endless(r) {
				b.end = time.Now().Add(bodyTime)
			}
			// Also for handlers that do not read it: the server then does, before the next request.
			_ = control.SetReadDeadline(time.Now().Add(stall)) // a connection that cannot is bound by its listener
			r.Body = b
		}
		_ = control.SetWriteDeadline(time.Time{})
		// What is left in the buffers is written when the handler has returned.
		defer func() { _ = control.SetWriteDeadline(time.Now().Add(stall)) }()
		next.ServeHTTP(&answer{ResponseWriter: w, control: control}, r)
	})
}

// body renews the deadline with everything that comes, and lifts it at the end: while the handler works, the
// server reads on to see whether the client is still there.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	end     time.Time // zero: none
}

func (b *body) Read(p []byte) (int, error) {
	deadline := time.Now().Add(stall)
	if !b.end.IsZero() && b.end.Before(deadline) {
		deadline = b.end
	}
	_ = b.control.SetReadDeadline(deadline) // see Patience
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF { // as io.Reader says; after other errors the server shall not read on
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// answer has a deadline for each write. Between writes there is none: in HTTP/2 it would end the stream.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (a *answer) Write(p []byte) (int, error) {
	_ = a.control.SetWriteDeadline(time.Now().Add(stall)) // see Patience
	n, err := a.ResponseWriter.Write(p)
	_ = a.control.SetWriteDeadline(time.Time{})
	return n, err
}

// FlushError implements what http.ResponseController looks for.
func (a *answer) FlushError() error {
	_ = a.control.SetWriteDeadline(time.Now().Add(stall)) // see Patience
	err := a.control.Flush()
	_ = a.control.SetWriteDeadline(time.Time{})
	return err
}

// Flush implements http.Flusher.
func (a *answer) Flush() { _ = a.FlushError() } // the next write sees it, too

// Unwrap lets http.ResponseController through to what the server has given.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
