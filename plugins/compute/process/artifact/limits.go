// Package artifact keeps what instances run: it takes artifacts from files, directories and URLs, pins
// them by SHA-256, and unpacks each of them once into a read-only tree. Nothing of an archive is trusted;
// DESIGN.md in the driver's folder says what is refused and why.
package artifact

import (
	"io"

	"github.com/instarhq/instar/sdk"
)

// Limits bounds what an artifact may be, and where it may come from.
type Limits struct {
	Bytes   int64    // of a source, and of all files of a tree together
	Entries int      // files, directories and links of a tree
	Sources []string // directories and URLs that sources must be below; empty: any
}

const (
	// An archive that unpacks to more than maxRatio times its own size is refused once that is more than
	// freeBytes: deflate reaches 1032 and zstd far more, on input that nobody deploys.
	maxRatio  = 200
	freeBytes = 16 << 20
)

// attribute is where an operator wrote what Limits refuse.
const attribute = "artifact.source"

func refuse(format string, args ...any) error { return sdk.InvalidConfig(attribute, format, args...) }

// bombGuard passes on at most the bytes that an archive of a given size may unpack to.
type bombGuard struct {
	from io.Reader
	left int64
	size int64
}

func guard(from io.Reader, size int64, limits Limits) io.Reader {
	// Headers and padding of a tar file take up to a few blocks for every entry.
	most := limits.Bytes + int64(limits.Entries)*4096
	return &bombGuard{from: from, left: min(most, max(freeBytes, maxRatio*size)), size: size}
}

// Read implements io.Reader.
func (g *bombGuard) Read(p []byte) (int, error) {
	n, err := g.from.Read(p)
	if g.left -= int64(n); g.left < 0 {
		return 0, refuse("the archive's %d bytes unpack to far more than any real one does (over %d times, or over the limit)",
			g.size, maxRatio)
	}
	return n, err
}
