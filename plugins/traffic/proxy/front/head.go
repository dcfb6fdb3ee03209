package front

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/http1"
)

// RevisionHeader names the revision that answered; only answers to preview requests carry it.
const RevisionHeader = "Instar-Revision"

// peer is what the proxy tells endpoints about a client.
type peer struct {
	ip      string
	trusted bool // a proxy whose own forwarding fields are believed
	secure  bool
}

func (p *peer) setAddress(address string, settings *Settings) {
	if addr, err := netip.ParseAddrPort(address); err == nil {
		ip := addr.Addr().Unmap().WithZone("")
		p.ip, p.trusted = ip.String(), settings.trusts(ip)
	}
}

func (p *peer) proto() string {
	if p.secure {
		return "https"
	}
	return "http"
}

// appendRequest appends the head of the request as the endpoint gets it.
func (p *peer) appendRequest(dst []byte, r *http1.Request) []byte {
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	dst = append(dst, r.Target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	dst = http1.AppendField(dst, []byte("Host"), r.Host)
	var before []byte // X-Forwarded-For of a trusted proxy
	var proto, host bool
	for i := range r.Fields {
		f := &r.Fields[i]
		switch f.Kind {
		case http1.KindOther:
			dst = http1.AppendField(dst, f.Name, f.Value)
		case http1.KindForwardedFor:
			if p.trusted && len(f.Value) > 0 {
				if before != nil {
					before = append(append(before[:len(before):len(before)], ", "...), f.Value...)
				} else {
					before = f.Value
				}
			}
		case http1.KindForwarded:
			if p.trusted {
				dst = http1.AppendField(dst, f.Name, f.Value)
				proto = proto || http1.EqualFold(f.Name, "x-forwarded-proto")
				host = host || http1.EqualFold(f.Name, "x-forwarded-host")
			}
		case http1.KindTE:
			if http1.EqualFold(f.Value, "trailers") {
				dst = append(dst, "TE: trailers\r\n"...)
			}
		}
	}
	dst = append(dst, "X-Forwarded-For: "...)
	if before != nil {
		dst = append(append(dst, before...), ", "...)
	}
	dst = append(append(dst, p.ip...), "\r\n"...)
	if !proto {
		dst = append(append(append(dst, "X-Forwarded-Proto: "...), p.proto()...), "\r\n"...)
	}
	if !host && len(r.Host) > 0 {
		dst = http1.AppendField(dst, []byte("X-Forwarded-Host"), r.Host)
	}
	return appendRequestFraming(dst, r)
}

func appendRequestFraming(dst []byte, r *http1.Request) []byte {
	switch {
	case r.Chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case r.Sized:
		dst = http1.AppendLength(dst, r.Length)
	}
	if r.Continue {
		dst = append(dst, "Expect: 100-continue\r\n"...)
	}
	if r.Upgrade != nil {
		dst = append(dst, "Connection: Upgrade\r\n"...)
		dst = http1.AppendField(dst, []byte("Upgrade"), r.Upgrade)
	}
	return append(dst, "\r\n"...)
}

// framing is how an answer is framed towards an HTTP/1 client.
type answerFraming struct {
	minor       int  // of the client's version
	headRequest bool // no body follows
	end         bool // the connection ends with this answer
	chunked     bool // set by appendResponse
	preview     int  // revision to name; 0: none
}

// appendResponse appends the head of an answer as the client gets it and decides on its framing: a body of
// unknown length is chunked for HTTP/1.1 and ends with the connection for HTTP/1.0.
func (a *answerFraming) appendResponse(dst []byte, r *http1.Response, now time.Time) []byte {
	dst = http1.AppendStatus(dst, r.Status, r.Reason)
	date := false
	for i := range r.Fields {
		f := &r.Fields[i]
		switch f.Kind {
		case http1.KindOther, http1.KindForwarded, http1.KindForwardedFor, http1.KindHost, http1.KindPreview, http1.KindExpect:
			dst = http1.AppendField(dst, f.Name, f.Value)
			date = date || len(f.Name) == 4 && http1.EqualFold(f.Name, "date")
		}
	}
	if !date {
		dst = appendDate(dst, now)
	}
	if a.preview != 0 {
		dst = appendRevision(dst, a.preview)
	}
	switch {
	case r.Length > 0, r.Length == 0 && !a.headRequest && r.Status != 204 && r.Status != 304:
		dst = http1.AppendLength(dst, r.Length)
	case r.Length == 0:
		if r.Declared >= 0 && r.Status != 204 {
			dst = http1.AppendLength(dst, r.Declared)
		}
	case a.minor == 1:
		a.chunked = true
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	default:
		a.end = true
	}
	switch {
	case a.end:
		dst = append(dst, "Connection: close\r\n"...)
	case a.minor == 0:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	return append(dst, "\r\n"...)
}

func appendRevision(dst []byte, revision int) []byte {
	dst = append(dst, RevisionHeader+": "...)
	dst = strconv.AppendInt(dst, int64(revision), 10)
	return append(dst, "\r\n"...)
}

// appendInterim appends an interim answer (1xx).
func appendInterim(dst []byte, r *http1.Response) []byte {
	dst = http1.AppendStatus(dst, r.Status, r.Reason)
	for i := range r.Fields {
		if f := &r.Fields[i]; f.Kind == http1.KindOther {
			dst = http1.AppendField(dst, f.Name, f.Value)
		}
	}
	return append(dst, "\r\n"...)
}
