package container

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/note"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// Names of the parts in a file.
const (
	manifestName  = "manifest.json"
	signatureName = "manifest.sig"
	headName      = "checkpoint"
	stateName     = "state"
	artifactDir   = "artifacts/"
)

// Write writes a file: the manifest, signed, then the state and the artifacts from files of their own,
// in the manifest's order.
func Write(ctx context.Context, w io.Writer, manifest *core.Manifest, signers []note.Signer, state string, artifacts []string) error {
	text, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	text = append(text, '\n')
	signature, err := sign(text, signers)
	if err != nil {
		return err
	}
	head, err := audit.SignCheckpoint(manifest.Head, signers...)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	compressed, err := zstd.NewWriter(&interruptible{ctx, w}, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	out := tarWriter{tar: tar.NewWriter(compressed), at: manifest.Created}
	out.bytes(manifestName, text)
	out.bytes(signatureName, []byte(signature))
	out.bytes(headName, []byte(head))
	out.file(stateName, state, manifest.State.Bytes)
	for i, a := range manifest.Artifacts {
		out.file(artifactName(a.Driver, a.Digest), artifacts[i], a.Bytes)
	}
	if out.err == nil {
		out.err = out.tar.Close()
	}
	if err := compressed.Close(); out.err == nil {
		out.err = err
	}
	if out.err != nil {
		return fmt.Errorf("snapshot: %w", out.err)
	}
	return nil
}

func artifactName(driver string, digest core.Digest) string {
	return artifactDir + driver + "/" + strings.ReplaceAll(string(digest), ":", "-")
}

// signedText is what the signature of a manifest is over.
func signedText(manifest []byte) string {
	return "instar snapshot manifest\n" + string(core.DigestBytes(manifest)) + "\n"
}

func sign(manifest []byte, signers []note.Signer) (string, error) {
	if len(signers) == 0 {
		return signedText(manifest), nil
	}
	signed, err := note.Sign(&note.Note{Text: signedText(manifest)}, signers...)
	if err != nil {
		return "", fmt.Errorf("sign the snapshot: %w", err)
	}
	return string(signed), nil
}

// tarWriter writes entries until the first error.
type tarWriter struct {
	tar *tar.Writer
	at  time.Time
	err error
}

func (t *tarWriter) header(name string, size int64) {
	if t.err == nil {
		t.err = t.tar.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: t.at.Truncate(time.Second), Format: tar.FormatPAX,
		})
	}
}

func (t *tarWriter) bytes(name string, data []byte) {
	t.header(name, int64(len(data)))
	if t.err == nil {
		_, t.err = t.tar.Write(data)
	}
}

func (t *tarWriter) file(name, path string, size int64) {
	t.header(name, size)
	if t.err != nil {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		t.err = err
		return
	}
	_, t.err = io.Copy(t.tar, f)
	_ = f.Close() // only read
}

// interruptible is a writer that fails when its context has ended.
type interruptible struct {
	ctx context.Context
	w   io.Writer
}

func (i *interruptible) Write(data []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.w.Write(data)
}
