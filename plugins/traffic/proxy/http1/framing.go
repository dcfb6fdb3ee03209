package http1

import "math"

// framing is what the fields say about where a message ends and whether its connection goes on.
type framing struct {
	length     int64 // of Content-Length, or -1
	chunked    bool
	close      bool
	keepAlive  bool
	upgrade    []byte // value of Upgrade, if Connection names it
	tooComplex bool   // a transfer coding other than chunked
}

// frame reads the framing fields. A message with more than one Content-Length or Transfer-Encoding, or
// with both, is refused: somebody behind the proxy could choose the other one.
func frame(fields []Field, minor int) (f framing, err error) {
	f.length = -1
	var upgrade []byte
	var upgrades, named, encodings int
	for i := range fields {
		value := fields[i].Value
		switch fields[i].Kind {
		case KindContentLength:
			if f.length >= 0 {
				return f, bad("more than one Content-Length")
			}
			if f.length = parseLength(value); f.length < 0 {
				return f, bad("malformed Content-Length")
			}
		case kindTransferEncoding:
			encodings++
			f.chunked = EqualFold(value, "chunked")
			f.tooComplex = f.tooComplex || !f.chunked
		case kindUpgrade:
			upgrades++
			upgrade = value
		case kindConnection:
			named += f.connection(value)
			dropNamed(fields, value)
		}
	}
	switch {
	case encodings > 1:
		return f, bad("more than one Transfer-Encoding")
	case encodings == 1 && f.length >= 0:
		return f, bad("both Content-Length and Transfer-Encoding")
	case encodings == 1 && minor == 0:
		return f, bad("Transfer-Encoding in HTTP/1.0")
	case f.tooComplex:
		return f, &Error{Status: 501, Reason: "unsupported transfer encoding"}
	}
	if named > 0 && upgrades == 1 && minor == 1 {
		f.upgrade = upgrade
	}
	if minor == 0 && !f.keepAlive {
		f.close = true
	}
	return f, nil
}

// connection reads the options of a Connection field and counts how often it names upgrade.
func (f *framing) connection(list []byte) (upgrade int) {
	for len(list) > 0 {
		var option []byte
		option, list = nextElement(list)
		switch {
		case EqualFold(option, "close"):
			f.close = true
		case EqualFold(option, "keep-alive"):
			f.keepAlive = true
		case EqualFold(option, "upgrade"):
			upgrade++
		}
	}
	return upgrade
}

// parseLength reads the digits of a Content-Length, or gives -1.
func parseLength(s []byte) int64 {
	if len(s) == 0 {
		return -1
	}
	var n int64
	for _, b := range s {
		if b < '0' || b > '9' {
			return -1
		}
		digit := int64(b - '0')
		if n > (math.MaxInt64-digit)/10 {
			return -1
		}
		n = n*10 + digit
	}
	return n
}
