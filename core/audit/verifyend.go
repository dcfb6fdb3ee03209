package audit

import (
	"errors"
	"fmt"
	"io"
)

// readEnd wants the line "end COUNT ROOT" and nothing behind it. The root in it is for people; the
// checkpoint's is the one that counts, and readEnd leaves the comparison to checkHeads.
func (v *verification) readEnd() error {
	line, err := v.in.next()
	if err != nil {
		return err
	}
	last := v.report.Checkpoints[len(v.report.Checkpoints)-1].Head
	if want := fmt.Sprintf("end %d %s", v.header.records, last.Root); string(line) != want || last.Size != v.header.records {
		return corrupt("byte %d: the last line is %.100q, want %q of the last checkpoint", v.in.line, line, want)
	}
	switch _, err := v.in.in.ReadByte(); {
	case err == nil:
		return corrupt("byte %d: there is something behind the end", v.in.offset)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("read export at byte %d: %w", v.in.offset, err)
	}
	return nil
}
