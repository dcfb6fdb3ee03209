package audit

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/instarhq/instar/core"
)

// CheckpointText is the text of a checkpoint as C2SP's tlog-checkpoint has it: origin, size and root,
// a line each. It is what SignCheckpoint signs.
func CheckpointText(head core.TreeHead) string {
	return head.Origin + "\n" + strconv.FormatUint(head.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(head.Root[:]) + "\n"
}

// SignCheckpoint makes a checkpoint of head with one signature line per signer, in C2SP's signed-note
// format. Without a signer it is the bare text, which proves nothing about who made it.
func SignCheckpoint(head core.TreeHead, signers ...note.Signer) (string, error) {
	if head.Origin == "" || strings.ContainsAny(head.Origin, "\n\r") {
		return "", core.Errorf(core.CodeInvalid, "origin %q cannot be signed: it must be one line of text", head.Origin)
	}
	if len(signers) == 0 {
		return CheckpointText(head), nil
	}
	signed, err := note.Sign(&note.Note{Text: CheckpointText(head)}, signers...)
	if err != nil {
		return "", fmt.Errorf("sign checkpoint of %s at %d: %w", head.Origin, head.Size, err)
	}
	return string(signed), nil
}

// Checkpoint is a parsed checkpoint.
type Checkpoint struct {
	Head     core.TreeHead `json:"head"`
	SignedBy []string      `json:"signed_by,omitempty"` // names of the known keys whose signatures verified
}

// Trust says which signatures a verifier believes.
type Trust struct {
	// Keys are the known node keys. With none, signatures are not checked at all.
	Keys []note.Verifier
	// Quorum is how many different known keys must have signed; 0 means one.
	Quorum int
	// Heads are tree heads that the verifier knows from elsewhere: noted earlier, or published. A log
	// that does not run through every one of them within its size was rewritten.
	Heads []core.TreeHead
}

// OpenCheckpoint parses a checkpoint and checks its signatures as trust demands. CodeCorrupt if it is
// no checkpoint or a known key's signature is wrong, CodeDenied if too few known keys have signed.
func OpenCheckpoint(text string, trust Trust) (Checkpoint, error) {
	body, _, signed := strings.Cut(text, "\n\n")
	if signed {
		body += "\n"
	}
	head, err := parseCheckpoint(body)
	if err != nil {
		return Checkpoint{}, err
	}
	c := Checkpoint{Head: head}
	if len(trust.Keys) == 0 {
		return c, nil
	}
	opened, err := note.Open([]byte(text), note.VerifierList(trust.Keys...))
	var unverified *note.UnverifiedNoteError
	switch {
	case errors.As(err, &unverified):
		opened = unverified.Note
	case err != nil && signed:
		return Checkpoint{}, core.Errorf(core.CodeCorrupt, "checkpoint of %s at %d: %w", head.Origin, head.Size, err)
	case err != nil:
		opened = &note.Note{}
	}
	for _, signature := range opened.Sigs {
		c.SignedBy = append(c.SignedBy, signature.Name)
	}
	if quorum := max(trust.Quorum, 1); len(c.SignedBy) < quorum {
		return c, core.Errorf(core.CodeDenied, "checkpoint of %s at %d is signed by %d known keys (%s), %d are needed",
			head.Origin, head.Size, len(c.SignedBy), strings.Join(c.SignedBy, ", "), quorum).
			WithHint("give the verifier keys of the cluster's nodes")
	}
	return c, nil
}

func parseCheckpoint(body string) (core.TreeHead, error) {
	bad := func(why string) (core.TreeHead, error) {
		return core.TreeHead{}, core.Errorf(core.CodeCorrupt, "this is no checkpoint: %s", why)
	}
	lines := strings.Split(body, "\n")
	if len(lines) < 4 || lines[0] == "" {
		return bad("it needs an origin, a size and a root, a line each")
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return bad(fmt.Sprintf("its second line %q is no size", lines[1]))
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != len(core.Hash{}) {
		return bad(fmt.Sprintf("its third line %q is no SHA-256 in base64", lines[2]))
	}
	return core.TreeHead{Origin: lines[0], Size: size, Root: core.Hash(root)}, nil
}

// NewKey makes an Ed25519 key in the note format. The signer text is the secret; the verifier text is
// public. name identifies the node for people, as in "dev/n1"; it has neither spaces nor a plus.
func NewKey(name string) (signer, verifier string, err error) {
	signer, verifier, err = note.GenerateKey(rand.Reader, name)
	if err != nil {
		return "", "", fmt.Errorf("key %q: %w", name, err)
	}
	return signer, verifier, nil
}

// Verifiers parses verifier texts as NewKey makes them.
func Verifiers(texts ...string) ([]note.Verifier, error) {
	keys := make([]note.Verifier, len(texts))
	for i, text := range texts {
		key, err := note.NewVerifier(strings.TrimSpace(text))
		if err != nil {
			return nil, core.Errorf(core.CodeInvalid, "%q is no verifier key: %w", text, err).
				WithHint("a verifier key is a line as in NAME+KEYHASH+KEYDATA")
		}
		keys[i] = key
	}
	return keys, nil
}
