package core

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Format is the number that every stored type carries in this version of instar.
const Format = 1

// CheckFormat refuses a stored value that a newer instar wrote.
func CheckFormat(kind Kind, id string, format int) error {
	if format == Format {
		return nil
	}
	return Errorf(CodeUnsupported, "%s %q is stored in format %d, this instar reads format %d", kind, id, format, Format).
		WithObject(kind, id).WithHint("run the version of instard that wrote it, or a newer one")
}

// Duration is a time.Duration that reads and writes as Go's duration text ("1m30s").
type Duration time.Duration

// Std converts to the standard type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String is the duration text.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration: write a number with a unit, as in 500ms, 30s or 1h30m", text)
	}
	*d = Duration(v)
	return nil
}

// Digest is "sha256:" and 64 hexadecimal digits; the empty Digest means none.
type Digest string

// DigestBytes returns the digest of data.
func DigestBytes(data []byte) Digest {
	sum := sha256.Sum256(data)
	return Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// DigestJSON returns the digest of v's JSON, which is canonical for the types of this package: fields
// in declaration order, map keys sorted.
func DigestJSON(v any) (Digest, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("digest of %T: %w", v, err)
	}
	return DigestBytes(data), nil
}

// Short gives the first 12 hexadecimal digits, for people.
func (d Digest) Short() string {
	const prefix = len("sha256:")
	if len(d) < prefix+12 {
		return string(d)
	}
	return string(d[prefix : prefix+12])
}
