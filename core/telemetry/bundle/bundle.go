// Package bundle writes diagnostics as a gzipped tar that may be given to strangers. Two things keep secrets
// out: what has secrets in known places is masked there (Spec, Values), and every text is searched for the
// known secrets themselves, and for what looks like a token or a key (Redactor), before it is written.
package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"time"
)

// Bundle is a bundle that is being written. Make one with New and end it with Close.
type Bundle struct {
	folder   string
	now      time.Time
	redactor *Redactor
	zip      *gzip.Writer
	tar      *tar.Writer
	failed   []string // parts that could not be had, and why
	err      error    // of the writer
}

// New begins a bundle whose files are in a folder of the given name.
func New(w io.Writer, folder string, now time.Time, redactor *Redactor) *Bundle {
	zip := gzip.NewWriter(w)
	return &Bundle{folder: folder, now: now, redactor: redactor, zip: zip, tar: tar.NewWriter(zip)}
}

// Text adds a text file. A part that fails is noted in errors.txt and the bundle goes on: diagnostics are
// wanted most when something does not work.
func (b *Bundle) Text(name string, write func(io.Writer) error) {
	b.add(name, write, b.redactor.Bytes)
}

// Binary adds a file as it is. It is for what cannot have a secret in it.
func (b *Bundle) Binary(name string, write func(io.Writer) error) {
	b.add(name, write, func(data []byte) []byte { return data })
}

// JSON adds a value.
func (b *Bundle) JSON(name string, value func() (any, error)) {
	b.Text(name, func(w io.Writer) error {
		v, err := value()
		if err != nil {
			return err
		}
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(v)
	})
}

func (b *Bundle) add(name string, write func(io.Writer) error, clean func([]byte) []byte) {
	if b.err != nil {
		return
	}
	var content bytes.Buffer
	if err := attempt(func() error { return write(&content) }); err != nil {
		b.failed = append(b.failed, name+": "+err.Error())
	}
	b.file(name, clean(content.Bytes()))
}

// attempt turns a panic into an error: what is broken is what the bundle is for.
func attempt(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return do()
}

func (b *Bundle) file(name string, data []byte) {
	header := &tar.Header{Name: path.Join(b.folder, name), Mode: 0o600, Size: int64(len(data)), ModTime: b.now, Typeflag: tar.TypeReg}
	if b.err = b.tar.WriteHeader(header); b.err == nil {
		_, b.err = b.tar.Write(data)
	}
}

// Close ends the bundle.
func (b *Bundle) Close() error {
	if b.err == nil && len(b.failed) > 0 {
		var text bytes.Buffer
		for _, line := range b.failed {
			fmt.Fprintln(&text, line)
		}
		b.file("errors.txt", b.redactor.Bytes(text.Bytes()))
	}
	return errors.Join(b.err, b.tar.Close(), b.zip.Close())
}
