package front

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/http1"
	"github.com/instarhq/instar/plugins/traffic/proxy/route"
)

// receive reads the answer and passes it on.
func (s *stream) receive(options *route.Options) error {
	s.x.await(time.Now(), options.ResponseTimeout)
	headRequest := s.r.Method == http.MethodHead
	for {
		if err := s.x.readHead(headRequest); err != nil {
			return err
		}
		res := &s.x.up.Response
		if res.Status >= 200 {
			return s.relay(headRequest)
		}
		if res.Status == 101 {
			return errBadAnswer
		}
		if res.Status != 100 { // net/http itself answers an Expect
			s.header(res)
			s.w.WriteHeader(res.Status)
			clear(s.w.Header())
			s.setEnd()
		}
	}
}

func (s *stream) header(res *http1.Response) {
	h := s.w.Header()
	for i := range res.Fields {
		if f := &res.Fields[i]; f.Kind == http1.KindOther && !http1.EqualFold(f.Name, "trailer") {
			h.Add(string(f.Name), string(f.Value))
		}
	}
}

// setEnd tells a client to go when the listener is closed: net/http makes a GOAWAY of it.
func (s *stream) setEnd() {
	if s.listener.ending() {
		s.w.Header().Set("Connection", "close")
	}
}

func (s *stream) relay(headRequest bool) error {
	res := &s.x.up.Response
	s.header(res)
	h := s.w.Header()
	s.setEnd()
	switch {
	case headRequest && res.Declared >= 0, res.Status == 304 && res.Declared >= 0:
		h.Set("Content-Length", strconv.FormatInt(res.Declared, 10))
	case res.Length >= 0 && !headRequest && res.Status != 204 && res.Status != 304:
		h.Set("Content-Length", strconv.FormatInt(res.Length, 10))
	}
	if h.Get("Content-Type") == "" {
		h["Content-Type"] = nil // not guessed
	}
	if s.x.flight.Preview {
		h.Set(RevisionHeader, strconv.Itoa(s.x.flight.Revision))
	}
	s.started = true
	s.w.WriteHeader(res.Status)
	body := s.x.body()
	buf := h2buffers.Get().(*h2buffer)
	defer h2buffers.Put(buf)
	for wait := false; !body.Done(); wait = true {
		n, err := gather(body, buf[:], wait)
		if now := time.Now(); s.writeBy.Sub(now) < stallTimeout/2 {
			s.writeBy = now.Add(stallTimeout)
			_ = s.control.SetWriteDeadline(s.writeBy)
		}
		if n > 0 {
			if _, werr := s.w.Write(buf[:n]); werr != nil {
				return errClient
			}
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if !body.Done() && s.control.Flush() != nil {
			return errClient
		}
	}
	for _, f := range body.Trailer {
		if !http1.ForbiddenTrailer(f) {
			h.Add(http.TrailerPrefix+string(f.Name), string(f.Value))
		}
	}
	return nil
}

// end ends the exchange, whose answer was passed on whole if err is nil.
func (s *stream) end(err error) {
	res := &s.x.up.Response
	sent, reply, client := true, failure(err), errors.Is(err, errClient)
	if s.pump != nil {
		if s.x.sending.Load() {
			// The endpoint has answered, or failed, without the rest of the body.
			_ = s.r.Body.Close()
			sent = <-s.pump == nil
		} else if perr := <-s.pump; perr != nil {
			sent = false
			switch {
			case errors.Is(perr, errTooLarge):
				reply, client = tooLarge, true
			case errors.Is(perr, errClient):
				client = true
			}
		}
	}
	if s.r.Context().Err() != nil {
		client = true
	}
	if err == nil {
		reuse := sent && !res.Close && !res.Suspect
		s.x.finish(route.Outcome{Failed: res.Status >= 500, Now: time.Now()}, reuse)
		return
	}
	aborted := client || s.x.wasAborted()
	s.x.finish(route.Outcome{Failed: !aborted, Aborted: aborted, Now: time.Now()}, false)
	if s.started {
		panic(http.ErrAbortHandler) // the only way to tell the client that the answer is not whole
	}
	reply.write(s.w)
}
