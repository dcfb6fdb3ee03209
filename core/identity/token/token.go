// Package token is the text of the secrets that people carry: join tokens, by which machines become
// members, and API tokens. Both are one word of letters, digits and underscores, so that a double click
// selects them and no shell touches them; a checksum tells a mistyped or truncated one from a wrong one.
//
//	instar_…      API token      base32(version, id, secret, checksum)
//	instarjoin_…  join token     base32(version, id, secret, digest of the CA, addresses, checksum)
//
// A secret has 256 random bits, so its plain SHA-256 is safe to store and nothing needs to be slow.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/instarhq/instar/core"
)

const (
	apiPrefix  = "instar_"
	joinPrefix = "instarjoin_"

	version  = 1
	idBytes  = 8
	sumBytes = 4
	// maxText bounds what Parse looks at, in bytes.
	maxText = 4096
)

// Secret is 256 random bits. It does not print.
type Secret [32]byte

// NewSecret makes a secret.
func NewSecret() (Secret, error) {
	var s Secret
	if _, err := rand.Read(s[:]); err != nil {
		return s, fmt.Errorf("make a secret: %w", err)
	}
	return s, nil
}

// Digest is what is stored of the secret.
func (s Secret) Digest() core.Digest { return core.DigestBytes(s[:]) }

// Matches compares the secret with a stored digest in constant time.
func (s Secret) Matches(stored core.Digest) bool {
	return subtle.ConstantTimeCompare([]byte(s.Digest()), []byte(stored)) == 1
}

// String keeps the secret out of logs and messages.
func (Secret) String() string { return "(secret)" }

// GoString keeps the secret out of %#v.
func (Secret) GoString() string { return "(secret)" }

// Format keeps the secret out of every other verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("(secret)")) }

// NewID makes the id of a Token or a JoinToken object: 16 hexadecimal digits. It is no secret.
func NewID() (string, error) {
	var id [idBytes]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return hex.EncodeToString(id[:]), nil
}

// API is what an API token says.
type API struct {
	ID     string // of the Token object
	Secret Secret
}

// NewAPI makes an API token.
func NewAPI() (API, error) {
	id, err := NewID()
	if err != nil {
		return API{}, err
	}
	secret, err := NewSecret()
	return API{ID: id, Secret: secret}, err
}

// Text is the token as a person carries it.
func (t API) Text() string {
	return apiPrefix + seal(apiPrefix, append(rawID(t.ID), t.Secret[:]...))
}

// ParseAPI reads the text of an API token.
func ParseAPI(text string) (API, error) {
	payload, err := open("API token", apiPrefix, text)
	if err != nil {
		return API{}, err
	}
	if len(payload) != idBytes+len(Secret{}) {
		return API{}, truncated("API token")
	}
	t := API{ID: hex.EncodeToString(payload[:idBytes])}
	copy(t.Secret[:], payload[idBytes:])
	return t, nil
}

func rawID(id string) []byte {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != idBytes {
		panic(fmt.Sprintf("token: %q is no id of NewID", id)) // a programmer's mistake: ids are made here
	}
	return raw
}

var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func seal(prefix string, payload []byte) string {
	data := append([]byte{version}, payload...)
	return encoding.EncodeToString(append(data, checksum(prefix, data)...))
}

func checksum(prefix string, data []byte) []byte {
	sum := sha256.Sum256(append([]byte(prefix), data...))
	return sum[:sumBytes]
}

// open checks prefix, checksum and version. Errors never repeat the text: it may be a secret.
func open(what, prefix, text string) ([]byte, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	if text == "" {
		return nil, core.Errorf(core.CodeInvalid, "the %s is empty", what)
	}
	body, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return nil, core.Errorf(core.CodeInvalid, "this is no %s: one begins with %s", what, prefix)
	}
	if len(text) > maxText {
		return nil, core.Errorf(core.CodeInvalid, "this is no %s: it has more than %d characters", what, maxText)
	}
	data, err := encoding.DecodeString(body)
	// Spare bits and characters at the end would make several texts of one token.
	if err != nil || len(data) <= 1+sumBytes || encoding.EncodeToString(data) != body {
		return nil, truncated(what)
	}
	data, sum := data[:len(data)-sumBytes], data[len(data)-sumBytes:]
	if subtle.ConstantTimeCompare(sum, checksum(prefix, data)) != 1 {
		return nil, truncated(what)
	}
	if data[0] != version {
		return nil, core.Errorf(core.CodeUnsupported, "this %s has version %d, this instar knows version %d", what, data[0], version).
			WithHint("use the version of instar that made it, or a newer one")
	}
	return data[1:], nil
}

func truncated(what string) error {
	return core.Errorf(core.CodeInvalid, "the %s is incomplete or mistyped: its checksum does not match", what).
		WithHint("copy it again, whole and in one line")
}
