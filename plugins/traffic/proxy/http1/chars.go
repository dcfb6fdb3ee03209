package http1

// Classes of octets, as bits, so that one table look-up answers each question.
const (
	isToken  = 1 << iota // RFC 9110 section 5.6.2
	isValue              // field values: VCHAR, obs-text, space and tab
	isTarget             // request targets: what net/url takes, without space, control characters and '#'
	isHost               // uri-host and port, RFC 3986 section 3.2.2
)

var octets = func() (t [256]uint8) {
	for c := range t {
		b := byte(c)
		alnum := b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
		if alnum || contains("!#$%&'*+-.^_`|~", b) {
			t[c] |= isToken
		}
		if b == '\t' || b >= ' ' && b != 0x7f {
			t[c] |= isValue
		}
		if b > ' ' && b != 0x7f && b != '#' {
			t[c] |= isTarget
		}
		if alnum || contains("!$%&'()*+,-.:;=[]_~", b) {
			t[c] |= isHost
		}
	}
	return t
}()

func contains(s string, b byte) bool {
	for i := range len(s) {
		if s[i] == b {
			return true
		}
	}
	return false
}

func all(s []byte, class uint8) bool {
	for _, b := range s {
		if octets[b]&class == 0 {
			return false
		}
	}
	return true
}

// ValidMethod says whether s is a method: a token.
func ValidMethod(s []byte) bool { return len(s) > 0 && all(s, isToken) }

// ValidTarget says whether s may stand in a request line as target.
func ValidTarget(s []byte) bool { return len(s) > 0 && all(s, isTarget) && validEscapes(s) }

// ValidHost says whether s may be the value of Host. The empty value is valid.
func ValidHost(s []byte) bool { return all(s, isHost) }

// ValidName says whether s is a field name: a token.
func ValidName(s []byte) bool { return ValidMethod(s) }

// ValidValue says whether s may be a field's value.
func ValidValue(s []byte) bool { return all(s, isValue) }

// validEscapes says whether every % before the query is followed by two hexadecimal digits.
func validEscapes(s []byte) bool {
	for i := range s {
		switch s[i] {
		case '?':
			return true
		case '%':
			if i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
				return false
			}
		}
	}
	return true
}

func unhex(b byte) int {
	switch {
	case b >= '0' && b <= '9':
		return int(b - '0')
	case b >= 'a' && b <= 'f':
		return int(b-'a') + 10
	case b >= 'A' && b <= 'F':
		return int(b-'A') + 10
	}
	return -1
}

func lower(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

// EqualFold compares s with t, which is lower case, without regard to ASCII case.
func EqualFold(s []byte, t string) bool {
	if len(s) != len(t) {
		return false
	}
	for i, b := range s {
		if lower(b) != t[i] {
			return false
		}
	}
	return true
}

func trim(s []byte) []byte {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// nextElement cuts the first element off a comma-separated list.
func nextElement(list []byte) (element, rest []byte) {
	for i, b := range list {
		if b == ',' {
			return trim(list[:i]), list[i+1:]
		}
	}
	return trim(list), nil
}
