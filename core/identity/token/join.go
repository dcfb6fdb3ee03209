package token

import (
	"encoding/hex"
	"net"
	"strings"

	"github.com/instarhq/instar/core"
)

const (
	digestPrefix = "sha256:"
	// maxAddresses bounds the addresses in a join token.
	maxAddresses = 16
)

// Join is what a join token says.
type Join struct {
	ID        string      // of the JoinToken object
	Secret    Secret      // shown to the member that is asked
	CA        core.Digest // ca.Digest: by this the machine knows the cluster
	Addresses []string    // HOST:PORT of members, to be tried in this order; at least one
}

// Text is the token as a person carries it.
func (t Join) Text() (string, error) {
	digest, err := hex.DecodeString(strings.TrimPrefix(string(t.CA), digestPrefix))
	if err != nil || len(digest) != 32 {
		return "", core.Errorf(core.CodeInvalid, "%q is no digest of a CA", t.CA)
	}
	if err := checkAddresses(t.Addresses); err != nil {
		return "", err
	}
	payload := append(rawID(t.ID), t.Secret[:]...)
	payload = append(payload, digest...)
	payload = append(payload, strings.Join(t.Addresses, ",")...)
	text := joinPrefix + seal(joinPrefix, payload)
	if len(text) > maxText {
		return "", core.Errorf(core.CodeInvalid, "the addresses are too long for a join token")
	}
	return text, nil
}

// ParseJoin reads the text of a join token.
func ParseJoin(text string) (Join, error) {
	payload, err := open("join token", joinPrefix, text)
	if err != nil {
		return Join{}, err
	}
	const fixed = idBytes + 32 + 32
	if len(payload) <= fixed {
		return Join{}, truncated("join token")
	}
	t := Join{
		ID:        hex.EncodeToString(payload[:idBytes]),
		CA:        core.Digest(digestPrefix + hex.EncodeToString(payload[idBytes+32:fixed])),
		Addresses: strings.Split(string(payload[fixed:]), ","),
	}
	copy(t.Secret[:], payload[idBytes:])
	return t, checkAddresses(t.Addresses)
}

func checkAddresses(addresses []string) error {
	if len(addresses) == 0 || len(addresses) > maxAddresses {
		return core.Errorf(core.CodeInvalid, "a join token has 1 to %d addresses, not %d", maxAddresses, len(addresses))
	}
	for _, a := range addresses {
		host, port, err := net.SplitHostPort(a)
		if err != nil || host == "" || port == "" || strings.ContainsAny(a, ", \t\n") {
			return core.Errorf(core.CodeInvalid, "join token: %q is no address; it is HOST:PORT", a)
		}
	}
	return nil
}
