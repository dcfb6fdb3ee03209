package http1

import (
	"errors"
	"strings"
	"testing"
)

func parse(head string) (Request, error) {
	var r Request
	err := r.Parse([]byte(head))
	return r, err
}

func TestRequestAccepted(t *testing.T) {
	for _, c := range []struct {
		name, head string
		want       func(r Request) bool
	}{
		{"origin form", "GET /a/b?c=d HTTP/1.1\r\nHost: x\r\n\r\n", func(r Request) bool {
			return string(r.Method) == "GET" && string(r.Target) == "/a/b?c=d" && string(r.Path) == "/a/b" && string(r.Host) == "x" && !r.Close
		}},
		{"absolute form wins over Host", "GET http://real.example:81/p HTTP/1.1\r\nHost: other\r\n\r\n", func(r Request) bool {
			return string(r.Host) == "real.example:81" && string(r.Target) == "/p"
		}},
		{"absolute form without path", "GET HTTP://x HTTP/1.1\r\nHost: x\r\n\r\n", func(r Request) bool { return string(r.Target) == "/" }},
		{"asterisk form", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", func(r Request) bool { return string(r.Target) == "*" }},
		{"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", func(r Request) bool { return len(r.Host) == 0 }},
		{"1.0 closes", "GET / HTTP/1.0\r\n\r\n", func(r Request) bool { return r.Close && r.Minor == 0 }},
		{"1.0 keeps alive if asked", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", func(r Request) bool { return !r.Close }},
		{"length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0012\r\n\r\n", func(r Request) bool { return r.Length == 12 && r.Sized }},
		{"length zero", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", func(r Request) bool { return r.Length == 0 && r.Sized }},
		{"chunked", "POST / HTTP/1.1\r\nHost: x\r\ntransfer-encoding: Chunked\r\n\r\n", func(r Request) bool { return r.Length == -1 && r.Chunked }},
		{"close", "GET / HTTP/1.1\r\nHost: x\r\nConnection: a, Close\r\n\r\n", func(r Request) bool { return r.Close }},
		{"upgrade", "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", func(r Request) bool {
			return string(r.Upgrade) == "websocket"
		}},
		{"upgrade that Connection does not name", "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", func(r Request) bool { return r.Upgrade == nil }},
		{"no upgrade to h2c", "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n", func(r Request) bool {
			return r.Upgrade == nil
		}},
		{"continue", "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n", func(r Request) bool { return r.Continue }},
		{"fields that Connection names are for this connection", "GET / HTTP/1.1\r\nHost: x\r\nConnection: X-Secret\r\nX-Secret: 1\r\n\r\n", func(r Request) bool {
			return r.Fields[2].Kind == KindHop
		}},
		{"forwarding fields cannot be stripped", "GET / HTTP/1.1\r\nHost: x\r\nConnection: X-Forwarded-For, Host\r\nX-Forwarded-For: 1\r\n\r\n", func(r Request) bool {
			return r.Fields[2].Kind == KindForwardedFor && r.Fields[0].Kind == KindHost
		}},
		{"an underscore does not smuggle forwarding fields", "GET / HTTP/1.1\r\nHost: x\r\nX_Forwarded-for: 1\r\nInstar_Preview: 3\r\n\r\n", func(r Request) bool {
			return r.Fields[1].Kind == KindForwardedFor && string(r.Preview) == "3"
		}},
		{"white space around values", "GET / HTTP/1.1\r\nHost:\t x \t\r\n\r\n", func(r Request) bool { return string(r.Host) == "x" }},
		{"obs-text in values", "GET / HTTP/1.1\r\nHost: x\r\nA: \xc3\xa4\r\n\r\n", func(r Request) bool { return string(r.Fields[1].Value) == "ä" }},
	} {
		r, err := parse(c.head)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if !c.want(r) {
			t.Errorf("%s: read as %+v", c.name, r)
		}
	}
}

func TestRequestRefused(t *testing.T) {
	const host = "Host: x\r\n"
	for _, c := range []struct {
		name, head string
		status     int
	}{
		{"no version", "GET /\r\n" + host + "\r\n", 400},
		{"two spaces", "GET  / HTTP/1.1\r\n" + host + "\r\n", 400},
		{"space in the target", "GET /a b HTTP/1.1\r\n" + host + "\r\n", 400},
		{"control character in the target", "GET /a\x01 HTTP/1.1\r\n" + host + "\r\n", 400},
		{"fragment", "GET /a#b HTTP/1.1\r\n" + host + "\r\n", 400},
		{"bad escape", "GET /%zz HTTP/1.1\r\n" + host + "\r\n", 400},
		{"cut escape", "GET /%4 HTTP/1.1\r\n" + host + "\r\n", 400},
		{"relative target", "GET a HTTP/1.1\r\n" + host + "\r\n", 400},
		{"other scheme", "GET ftp://x/ HTTP/1.1\r\n" + host + "\r\n", 400},
		{"no authority", "GET http:///p HTTP/1.1\r\n" + host + "\r\n", 400},
		{"user in the authority", "GET http://a@b/ HTTP/1.1\r\n" + host + "\r\n", 400},
		{"asterisk with GET", "GET * HTTP/1.1\r\n" + host + "\r\n", 400},
		{"CONNECT", "CONNECT x:443 HTTP/1.1\r\n" + host + "\r\n", 405},
		{"bad method", "G(T / HTTP/1.1\r\n" + host + "\r\n", 400},
		{"version 2", "GET / HTTP/2.0\r\n" + host + "\r\n", 505},
		{"version 1.2", "GET / HTTP/1.2\r\n" + host + "\r\n", 505},
		{"lower-case version", "GET / http/1.1\r\n" + host + "\r\n", 400},
		{"bare LF", "GET / HTTP/1.1\n" + host + "\r\n", 400},
		{"bare LF in a field", "GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400},
		{"bare CR in a value", "GET / HTTP/1.1\r\n" + host + "A: b\rc\r\n\r\n", 400},
		{"NUL in a value", "GET / HTTP/1.1\r\n" + host + "A: b\x00\r\n\r\n", 400},
		{"folded line", "GET / HTTP/1.1\r\n" + host + "A: b\r\n c\r\n\r\n", 400},
		{"folded first line", "GET / HTTP/1.1\r\n " + host + "\r\n", 400},
		{"space before the colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400},
		{"empty name", "GET / HTTP/1.1\r\n" + host + ": x\r\n\r\n", 400},
		{"no colon", "GET / HTTP/1.1\r\n" + host + "foo\r\n\r\n", 400},
		{"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
		{"two Hosts", "GET / HTTP/1.1\r\n" + host + host + "\r\n", 400},
		{"bad Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
		{"Host with user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400},
		{"two lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
		{"list of lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 1, 1\r\n\r\n", 400},
		{"signed length", "POST / HTTP/1.1\r\n" + host + "Content-Length: +1\r\n\r\n", 400},
		{"hexadecimal length", "POST / HTTP/1.1\r\n" + host + "Content-Length: 0x1\r\n\r\n", 400},
		{"empty length", "POST / HTTP/1.1\r\n" + host + "Content-Length:\r\n\r\n", 400},
		{"overflowing length", "POST / HTTP/1.1\r\n" + host + "Content-Length: 9223372036854775808\r\n\r\n", 400},
		{"length and chunked", "POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"two codings", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"unknown coding", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
		{"obfuscated coding", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: \x0bchunked\r\n\r\n", 400},
		{"coding with a parameter", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked;a\r\n\r\n", 501},
		{"chunked in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"unknown expectation", "POST / HTTP/1.1\r\n" + host + "Expect: cookies\r\n\r\n", 417},
		{"two previews", "GET / HTTP/1.1\r\n" + host + "Instar-Preview: 1\r\ninstar_preview: 2\r\n\r\n", 400},
		{"too many fields", "GET / HTTP/1.1\r\n" + host + strings.Repeat("A: b\r\n", maxFields) + "\r\n", 431},
	} {
		_, err := parse(c.head)
		var e *Error
		if !errors.As(err, &e) || e.Status != c.status {
			t.Errorf("%s: got %v, want status %d", c.name, err, c.status)
		}
	}
}

func TestResponse(t *testing.T) {
	for _, c := range []struct {
		name, head string
		toHead     bool
		want       func(r Response) bool // nil: refused
	}{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", false, func(r Response) bool {
			return r.Status == 200 && string(r.Reason) == "OK" && r.Length == 3 && !r.Close
		}},
		{"no reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false, func(r Response) bool { return r.Length == 0 }},
		{"until close", "HTTP/1.1 200 OK\r\n\r\n", false, func(r Response) bool { return r.Length == -1 && r.Close && !r.Chunked }},
		{"to HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true, func(r Response) bool { return r.Length == 0 && r.Declared == 3 && !r.Close }},
		{"304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", false, func(r Response) bool { return r.Length == 0 && r.Declared == 3 }},
		{"204 with a body", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", false, func(r Response) bool { return r.Length == 0 && r.Suspect }},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, func(r Response) bool { return r.Chunked && r.Length == -1 }},
		{"1.0 closes", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", false, func(r Response) bool { return r.Close }},
		{"100", "HTTP/1.1 100 Continue\r\n\r\n", false, func(r Response) bool { return r.Status == 100 && r.Length == 0 }},
		{"both framings", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", false, nil},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", false, nil},
		{"bad status", "HTTP/1.1 2x0 OK\r\n\r\n", false, nil},
		{"status under 100", "HTTP/1.1 099 OK\r\n\r\n", false, nil},
		{"version 2", "HTTP/2.0 200 OK\r\n\r\n", false, nil},
		{"control character in the reason", "HTTP/1.1 200 O\x01\r\n\r\n", false, nil},
		{"bare LF", "HTTP/1.1 200 OK\nA: b\n\n", false, nil},
	} {
		var r Response
		err := r.Parse([]byte(c.head), c.toHead)
		switch {
		case c.want == nil && err == nil:
			t.Errorf("%s: accepted as %+v", c.name, r)
		case c.want != nil && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != nil && !c.want(r):
			t.Errorf("%s: read as %+v", c.name, r)
		}
	}
}
