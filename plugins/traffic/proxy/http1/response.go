package http1

import "bytes"

// Response is the head of a response. Its slices point into the buffer that Parse was given.
type Response struct {
	Status int
	Reason []byte
	Minor  int
	Fields []Field

	// Length of the body; 0: none; -1: chunked, or until the connection closes if not Chunked.
	Length  int64
	Chunked bool
	// Declared is the value of Content-Length also where no body follows (HEAD, 304); -1: none.
	Declared int64
	Close    bool // the connection ends with this response
	// Suspect says that bytes may follow which belong to no message, such as a body of a 204: the
	// connection must not be used again.
	Suspect bool
	Upgrade []byte
}

// Parse reads the head of the response to a request with the given method.
func (r *Response) Parse(head []byte, headRequest bool) error {
	*r = Response{Fields: r.Fields[:0]}
	end := bytes.IndexByte(head, '\n')
	if end < 1 || head[end-1] != '\r' {
		return bad("malformed status line")
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
	r.Declared, r.Upgrade = f.length, f.upgrade
	r.Close = f.close
	switch {
	case r.Status < 200 || r.Status == 204 || r.Status == 304 || headRequest:
		r.Suspect = f.chunked && !headRequest || f.length > 0 && r.Status == 204
	case f.chunked:
		r.Chunked, r.Length = true, -1
	case f.length >= 0:
		r.Length = f.length
	default:
		r.Length, r.Close = -1, true
	}
	return nil
}

func (r *Response) parseLine(line []byte) error {
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[8] != ' ' {
		return bad("malformed status line")
	}
	switch line[7] {
	case '0':
	case '1':
		r.Minor = 1
	default:
		return bad("malformed status line")
	}
	for _, b := range line[9:12] {
		if b < '0' || b > '9' {
			return bad("malformed status line")
		}
		r.Status = r.Status*10 + int(b-'0')
	}
	if r.Status < 100 {
		return bad("malformed status line")
	}
	if len(line) > 12 {
		if line[12] != ' ' || !ValidValue(line[13:]) {
			return bad("malformed status line")
		}
		r.Reason = line[13:]
	}
	return nil
}
