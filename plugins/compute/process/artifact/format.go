package artifact

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds what a zstd frame may make the reader allocate; zstd's own tool has this limit too.
const maxWindow = 128 << 20

// formats that people try and that are not taken, by their first bytes.
var foreign = []struct{ magic, name string }{
	{"\xfd7zXZ\x00", "xz"},
	{"BZh", "bzip2"},
	{"7z\xbc\xaf\x27\x1c", "7z"},
	{"!<arch>\n", "ar (a .deb?)"},
	{"\xed\xab\xee\xdb", "rpm"},
	{"Rar!\x1a\x07", "rar"},
}

// open looks at content and returns a reader of its entries, or nil if it is a single file and not an
// archive. The kind is found in the bytes alone, so that a digest always means the same tree.
func open(content io.Reader, size int64, limits Limits) (entries *tar.Reader, err error) {
	in := bufio.NewReaderSize(content, 64<<10)
	// A short or empty file gives an error here, and fewer bytes, which is all that matters.
	head, _ := in.Peek(512)
	for _, f := range foreign {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return nil, refuse("this is %s, which is not supported: use tar, tar.gz, tar.zst, a directory or a single program", f.name)
		}
	}
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, refuse("the gzip header is damaged: %w", err)
		}
		return compressed(z, "gzip", size, limits)
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, refuse("the zstd header is damaged: %w", err)
		}
		return compressed(z.IOReadCloser(), "zstd", size, limits)
	case isTar(head):
		return tar.NewReader(guard(in, size, limits)), nil
	}
	return nil, nil
}

func compressed(z io.Reader, name string, size int64, limits Limits) (*tar.Reader, error) {
	in := bufio.NewReaderSize(guard(z, size, limits), 64<<10)
	head, err := in.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, damaged(err)
	}
	if !isTar(head) {
		return nil, refuse("what is compressed with %s is not a tar archive: give the program itself, or tar it", name)
	}
	return tar.NewReader(in), nil
}

// isTar reports whether a block is a tar header: the reader checks its checksum.
func isTar(block []byte) bool {
	if len(block) < 512 {
		return false
	}
	_, err := tar.NewReader(bytes.NewReader(block)).Next()
	// A header that announces an extended one makes the reader want more than this block.
	return err == nil || errors.Is(err, io.ErrUnexpectedEOF)
}

func damaged(err error) error {
	if isTyped(err) {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse("the archive ends too early; it is truncated")
	}
	return refuse("the archive is damaged: %w", err)
}
