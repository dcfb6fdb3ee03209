package front

import (
	"errors"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/http1"
	"github.com/instarhq/instar/plugins/traffic/proxy/route"
)

// answer is what the proxy itself tells a client. The text says what happened and nothing of what is
// behind the proxy.
type answer struct {
	status int
	retry  bool // with Retry-After
	text   string
}

var (
	noRoute     = &answer{404, false, "no route matches this host and path"}
	noPreview   = &answer{404, false, "there is no preview of this revision"}
	tooLarge    = &answer{413, false, "the request body is larger than this route allows"}
	badBody     = &answer{400, false, "malformed request body"}
	slowRequest = &answer{408, false, "the request took too long to arrive"}
	badGateway  = &answer{502, false, "the service gave no valid answer"}
	unavailable = &answer{503, true, "the service cannot be reached right now"}
	held        = &answer{503, true, "the service is paused and too many requests wait for it"}
	timedOut    = &answer{504, false, "the service did not answer in time"}
)

// retryAfter is what Retry-After says, in seconds: about the time in which a dead pool is replaced.
const retryAfter = 1

// refusal is the answer for a request that got no connection to an endpoint.
func refusal(err error) *answer {
	switch {
	case errors.Is(err, route.ErrGone):
		return noRoute
	case errors.Is(err, route.ErrNoPreview):
		return noPreview
	case errors.Is(err, route.ErrHeld):
		return held
	}
	return unavailable
}

// failure is the answer for a request whose endpoint failed.
func failure(err error) *answer {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return timedOut
	}
	return badGateway
}

// malformed is the answer for a request that cannot be accepted.
func malformed(err error) *answer {
	var e *http1.Error
	if errors.As(err, &e) {
		return &answer{status: e.Status, text: e.Reason}
	}
	return &answer{status: 400, text: "malformed request"}
}

// appendAnswer appends the whole answer as HTTP/1.1.
func (a *answer) append(dst []byte, headRequest, end bool) []byte {
	dst = http1.AppendStatus(dst, a.status, []byte(http.StatusText(a.status)))
	dst = append(dst, "Content-Type: text/plain; charset=utf-8\r\n"...)
	dst = appendDate(dst, time.Now())
	dst = http1.AppendLength(dst, int64(len(a.text)+1))
	if a.retry {
		dst = append(dst, "Retry-After: "...)
		dst = strconv.AppendInt(dst, retryAfter, 10)
		dst = append(dst, "\r\n"...)
	}
	if end {
		dst = append(dst, "Connection: close\r\n"...)
	}
	dst = append(dst, "\r\n"...)
	if headRequest {
		return dst
	}
	dst = append(dst, a.text...)
	return append(dst, '\n')
}

// write gives the answer to a client of net/http.
func (a *answer) write(w http.ResponseWriter) {
	if a.retry {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	http.Error(w, a.text, a.status)
}

// lastDate is the Date line of the present second.
var lastDate atomic.Pointer[struct {
	second int64
	line   string
}]

func appendDate(dst []byte, now time.Time) []byte {
	d := lastDate.Load()
	if d == nil || d.second != now.Unix() {
		d = &struct {
			second int64
			line   string
		}{now.Unix(), "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
		lastDate.Store(d)
	}
	return append(dst, d.line...)
}
