package http1

import "bytes"

// Kind says what the proxy has to do with a field.
type Kind uint8

// The kinds of fields.
const (
	KindOther         Kind = iota // passed on
	KindHost                      // passed on, checked
	KindContentLength             // written anew from the framing
	KindHop                       // for this connection only: dropped
	KindExpect                    // passed on if it is 100-continue
	KindTE                        // passed on as "trailers" if it says so
	KindForwardedFor              // X-Forwarded-For: written anew
	KindForwarded                 // X-Forwarded-Proto, -Host, Forwarded: written anew or dropped
	KindPreview                   // the preview header: read and dropped
	kindConnection
	kindTransferEncoding
	kindUpgrade
)

// Field is one header or trailer field; the slices point into the message's buffer.
type Field struct {
	Name, Value []byte
	Kind        Kind
}

// maxFields bounds the number of fields of a message.
const maxFields = 256

var errFields = &Error{Status: 431, Reason: "too many header fields"}

// parseFields reads field lines up to the empty line that ends head.
func parseFields(head []byte, fields []Field) ([]Field, error) {
	for {
		end := bytes.IndexByte(head, '\n')
		if end < 1 || head[end-1] != '\r' {
			return fields, bad("a line does not end in CR LF")
		}
		line := head[:end-1]
		head = head[end+1:]
		if len(line) == 0 {
			if len(head) != 0 {
				return fields, bad("malformed header")
			}
			return fields, nil
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 1 {
			return fields, bad("malformed header field")
		}
		name, value := line[:colon], trim(line[colon+1:])
		// A folded line begins with white space and white space before the colon is no token either, so
		// both are refused here.
		if !ValidName(name) {
			return fields, bad("malformed header field name")
		}
		if !ValidValue(value) {
			return fields, bad("malformed header field value")
		}
		if len(fields) == maxFields {
			return fields, errFields
		}
		fields = append(fields, Field{Name: name, Value: value, Kind: KindOf(name)})
	}
}

// KindOf tells what a field name means to the proxy. In the names of forwarding and preview fields an
// underscore counts as a hyphen, because gateway interfaces (CGI, WSGI) map both to the same variable.
func KindOf(name []byte) Kind {
	switch lower(name[0]) {
	case 'c':
		switch {
		case EqualFold(name, "connection"):
			return kindConnection
		case EqualFold(name, "content-length"):
			return KindContentLength
		}
	case 'e':
		if EqualFold(name, "expect") {
			return KindExpect
		}
	case 'f':
		if EqualFold(name, "forwarded") {
			return KindForwarded
		}
	case 'h':
		switch {
		case EqualFold(name, "host"):
			return KindHost
		case EqualFold(name, "http2-settings"):
			return KindHop
		}
	case 'i':
		if equalHyphen(name, "instar-preview") {
			return KindPreview
		}
	case 'k':
		if EqualFold(name, "keep-alive") {
			return KindHop
		}
	case 'p':
		if EqualFold(name, "proxy-connection") || EqualFold(name, "proxy-authorization") ||
			EqualFold(name, "proxy-authenticate") {
			return KindHop
		}
	case 't':
		switch {
		case EqualFold(name, "te"):
			return KindTE
		case EqualFold(name, "transfer-encoding"):
			return kindTransferEncoding
		}
	case 'u':
		if EqualFold(name, "upgrade") {
			return kindUpgrade
		}
	case 'x':
		return forwardedKind(name)
	}
	return KindOther
}

func forwardedKind(name []byte) Kind {
	switch {
	case equalHyphen(name, "x-forwarded-for"):
		return KindForwardedFor
	case equalHyphen(name, "x-forwarded-proto"), equalHyphen(name, "x-forwarded-host"):
		return KindForwarded
	}
	return KindOther
}

func equalHyphen(s []byte, t string) bool {
	if len(s) != len(t) {
		return false
	}
	for i, b := range s {
		if b == '_' {
			b = '-'
		}
		if lower(b) != t[i] {
			return false
		}
	}
	return true
}

// dropNamed turns fields that a Connection header names into hop-by-hop fields. Fields that the proxy
// writes or needs itself keep their kind, so a client cannot strip them.
func dropNamed(fields []Field, list []byte) {
	for len(list) > 0 {
		var name []byte
		name, list = nextElement(list)
		for i := range fields {
			if fields[i].Kind == KindOther && len(fields[i].Name) == len(name) && bytes.EqualFold(fields[i].Name, name) {
				fields[i].Kind = KindHop
			}
		}
	}
}
