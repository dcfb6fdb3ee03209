package http1

import "bytes"

// Request is the head of a request. Its slices point into the buffer that Parse was given; the value is
// meant to be used again for the next request.
type Request struct {
	Method []byte
	Target []byte // origin form or "*", as it is passed on
	Path   []byte // Target without the query, as written
	Host   []byte // the authority: Host, or that of an absolute target
	Minor  int    // of the version, 0 or 1
	Fields []Field

	Length  int64 // of the body; 0: none; -1: chunked
	Sized   bool  // there is a Content-Length, maybe 0
	Chunked bool
	Close   bool   // the client wants no further request on the connection
	Upgrade []byte // protocols that the client would switch to; nil: none
	// Continue says that the client waits for "100 Continue" before it sends the body.
	Continue bool
	Preview  []byte // value of the preview header, nil: none
}

// HeadEnd returns the length of the head at the beginning of buf, up to and including the empty line, or
// -1 if it is not complete. The first from bytes have been looked at before.
func HeadEnd(buf []byte, from int) int {
	from = max(0, from-3)
	if i := bytes.Index(buf[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 4
	}
	return -1
}

// BareLF says whether buf has a line feed without a carriage return, of which the first from bytes have
// been looked at before: such a head is refused at once instead of waiting for an end that may never come.
func BareLF(buf []byte, from int) bool {
	for i := from; ; {
		n := bytes.IndexByte(buf[i:], '\n')
		if n < 0 {
			return false
		}
		if i += n; i == 0 || buf[i-1] != '\r' {
			return true
		}
		i++
	}
}

// Parse reads a whole head.
func (r *Request) Parse(head []byte) error {
	*r = Request{Fields: r.Fields[:0]}
	end := bytes.IndexByte(head, '\n')
	if end < 1 || head[end-1] != '\r' {
		return bad("malformed request line")
	}
	if err := r.parseLine(head[:end-1]); err != nil {
		return err
	}
	var err error
	if r.Fields, err = parseFields(head[end+1:], r.Fields); err != nil {
		return err
	}
	f, err := frame(r.Fields, r.Minor)
	if err != nil {
		return err
	}
	r.Close, r.Chunked, r.Length = f.close, f.chunked, max(0, f.length)
	r.Sized = f.length >= 0
	if f.chunked {
		r.Length = -1
	}
	// An upgrade to HTTP/2 is not offered (RFC 9113 deprecates it); a request that asks for it is served
	// as it is. A request with a body that also upgrades has no clear end of HTTP: it is not upgraded.
	if f.upgrade != nil && r.Length == 0 && !EqualFold(f.upgrade, "h2c") {
		r.Upgrade = f.upgrade
	}
	return r.checkFields()
}

func (r *Request) parseLine(line []byte) error {
	s1 := bytes.IndexByte(line, ' ')
	s2 := bytes.LastIndexByte(line, ' ')
	if s1 < 1 || s2 <= s1+1 {
		return bad("malformed request line")
	}
	method, target, version := line[:s1], line[s1+1:s2], line[s2+1:]
	if !ValidMethod(method) {
		return bad("malformed method")
	}
	switch string(version) {
	case "HTTP/1.1":
		r.Minor = 1
	case "HTTP/1.0":
		r.Minor = 0
	default:
		if len(version) == 8 && string(version[:5]) == "HTTP/" && version[6] == '.' {
			return &Error{Status: 505, Reason: "HTTP version not supported"}
		}
		return bad("malformed request line")
	}
	r.Method = method
	return r.setTarget(target)
}

// setTarget takes the forms of RFC 9112 section 3.2 apart.
func (r *Request) setTarget(target []byte) error {
	if string(r.Method) == "CONNECT" {
		return &Error{Status: 405, Reason: "CONNECT is not supported"}
	}
	if !ValidTarget(target) {
		return bad("malformed request target")
	}
	switch {
	case target[0] == '/':
		r.Target = target
	case len(target) == 1 && target[0] == '*':
		if string(r.Method) != "OPTIONS" {
			return bad("malformed request target")
		}
		r.Target = target
	default:
		rest, ok := cutScheme(target)
		if !ok {
			return bad("malformed request target")
		}
		end := bytes.IndexAny(rest, "/?")
		switch {
		case end < 0:
			// The path of "http://host" is "/". The last slash of the scheme serves as its byte.
			end = len(rest)
			r.Target = target[len(target)-len(rest)-1 : len(target)-len(rest)]
		case rest[end] == '/':
			r.Target = rest[end:]
		default:
			return bad("malformed request target")
		}
		r.Host = rest[:end]
		if len(r.Host) == 0 || !ValidHost(r.Host) {
			return bad("malformed request target")
		}
	}
	r.SetPath()
	return nil
}

// SetPath sets Path from Target.
func (r *Request) SetPath() {
	r.Path = r.Target
	if q := bytes.IndexByte(r.Path, '?'); q >= 0 {
		r.Path = r.Path[:q]
	}
}

func cutScheme(target []byte) (rest []byte, ok bool) {
	if len(target) > 7 && EqualFold(target[:7], "http://") {
		return target[7:], true
	}
	if len(target) > 8 && EqualFold(target[:8], "https://") {
		return target[8:], true
	}
	return nil, false
}

func (r *Request) checkFields() error {
	hosts := 0
	for i := range r.Fields {
		f := &r.Fields[i]
		switch f.Kind {
		case KindHost:
			hosts++
			if !ValidHost(f.Value) {
				return bad("malformed Host")
			}
			if r.Host == nil { // an absolute target has the last word (RFC 9112 section 3.2.2)
				r.Host = f.Value
			}
		case KindExpect:
			if !EqualFold(f.Value, "100-continue") {
				return &Error{Status: 417, Reason: "unknown expectation"}
			}
			r.Continue = r.Minor == 1 && r.Length != 0
		case KindPreview:
			if r.Preview != nil {
				return bad("more than one preview header")
			}
			r.Preview = f.Value
		}
	}
	if hosts > 1 {
		return bad("more than one Host")
	}
	if hosts == 0 && r.Minor == 1 {
		return bad("missing Host")
	}
	return nil
}
