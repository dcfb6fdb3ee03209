package audit

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"

	"golang.org/x/mod/sumdb/note"

	"github.com/instarhq/instar/core"
)

// ExportFormat is the format number in an export's first line.
const ExportFormat = 1

const (
	exportMagic   = "instar audit export "
	maxCheckpoint = 64 << 10 // bytes of one checkpoint in an export
)

// Source is what Export reads; core.Store has it.
type Source interface {
	core.Feed
	core.Log
}

// Export writes the whole log as it stands now: a header, a checkpoint signed by signers, and every
// record verbatim. DESIGN.md has the format. It streams, so a log of any size can be exported while
// the store goes on.
func Export(ctx context.Context, w io.Writer, source Source, signers ...note.Signer) (core.TreeHead, error) {
	head, err := source.Head(ctx)
	if err != nil {
		return core.TreeHead{}, err
	}
	checkpoint, err := SignCheckpoint(head, signers...)
	if err != nil {
		return core.TreeHead{}, err
	}
	out := bufio.NewWriterSize(w, 256<<10)
	fmt.Fprintf(out, "%s%d\norigin %s\nrecords %d\ncheckpoint %d\n%s\n",
		exportMagic, ExportFormat, head.Origin, head.Size, len(checkpoint), checkpoint)
	if head.Size > 0 {
		if err := exportRecords(ctx, out, source, head.Size); err != nil {
			return core.TreeHead{}, err
		}
	}
	fmt.Fprintf(out, "end %d %s\n", head.Size, head.Root)
	if err := out.Flush(); err != nil {
		return core.TreeHead{}, fmt.Errorf("export: %w", err)
	}
	return head, nil
}

func exportRecords(ctx context.Context, out *bufio.Writer, source core.Feed, size uint64) error {
	var line []byte
	for record, err := range source.Changes(ctx, 0) {
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
		line = append(line[:0], "record "...)
		line = strconv.AppendUint(line, record.Seq, 10)
		line = append(line, ' ')
		line = strconv.AppendInt(line, int64(len(record.Raw)), 10)
		line = append(line, ' ')
		line = appendHex(line, record.LeafHash)
		line = append(line, '\n')
		_, _ = out.Write(line)
		_, _ = out.Write(record.Raw)
		if err := out.WriteByte('\n'); err != nil { // bufio keeps the first error
			return fmt.Errorf("export: %w", err)
		}
		if record.Seq == size {
			break
		}
	}
	return nil
}

const hexDigits = "0123456789abcdef"

func appendHex(to []byte, hash core.Hash) []byte {
	for _, b := range hash {
		to = append(to, hexDigits[b>>4], hexDigits[b&15])
	}
	return to
}
