package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/core/coretest"
)

// long is a log with records of all sizes, some larger than what verification reads at a time.
func long(t *testing.T) *coretest.Store {
	t.Helper()
	s := coretest.NewStore()
	random := rand.New(rand.NewPCG(7, 8))
	for i := range 1500 {
		size := random.IntN(600)
		if i%500 == 99 {
			size = random.IntN(400 << 10)
		}
		value := fmt.Appendf(nil, "%q", strings.Repeat("v", size))
		propose(t, s, core.Op{Kind: core.KindService, ID: fmt.Sprintf("s%d", i%50), Value: value, IfSeq: core.AnySeq})
	}
	return s
}

// However a log is cut into pieces on its way in, the same is verified.
func TestVerifyExportInPieces(t *testing.T) {
	s := long(t)
	data := export(t, s)
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var trust audit.Trust
	for size := uint64(1); size <= head.Size; size += 37 {
		known, err := s.HeadAt(t.Context(), size)
		if err != nil {
			t.Fatal(err)
		}
		trust.Heads = append(trust.Heads, known)
	}
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"at once": func(r io.Reader) io.Reader { return r }, "halves": iotest.HalfReader, "end with data": iotest.DataErrReader,
		"single bytes": iotest.OneByteReader,
	} {
		for _, trust := range []audit.Trust{{}, trust} {
			report, err := audit.VerifyExport(wrap(bytes.NewReader(data)), trust)
			if err != nil || report.Root != head.Root || report.Records != head.Size || report.Bytes != int64(len(data)) || report.Objects != 50 {
				t.Fatalf("%s: %+v, %v", name, report, err)
			}
		}
	}
	for _, seq := range []uint64{1, 100, 777, head.Size} {
		proof, err := audit.ProveExport(bytes.NewReader(data), seq, audit.Trust{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := proof.Verify(audit.Trust{}); err != nil {
			t.Fatalf("proof of %d: %v", seq, err)
		}
	}
}

// What is wrong somewhere in a long log is found there, and the report is about all that stands before it.
func TestVerifyExportBlamesTheRightRecord(t *testing.T) {
	s := long(t)
	data := export(t, s)
	random := rand.New(rand.NewPCG(9, 10))
	for range 30 {
		seq := 1 + random.Uint64N(1500)
		begin := bytes.Index(data, fmt.Appendf(nil, "\nrecord %d ", seq)) + 1
		end := bytes.Index(data[begin:], []byte("\nrecord ")) + begin
		if end < begin {
			end = bytes.LastIndex(data, []byte("\nend "))
		}
		bad := bytes.Clone(data)
		at := begin + random.IntN(end-begin)
		bad[at] ^= 1 << random.IntN(8)
		report, err := audit.VerifyExport(bytes.NewReader(bad), audit.Trust{})
		before, headErr := s.HeadAt(t.Context(), seq-1)
		if headErr != nil {
			t.Fatal(headErr)
		}
		if err == nil || report.Failure.Seq != seq || report.Failure.Offset != int64(begin) || report.Records != seq-1 || report.Root != before.Root {
			t.Fatalf("flip at %d in record %d at %d: %+v, %v", at, seq, begin, report, err)
		}
	}
}

// A head in the middle is compared where it is, not at the end of what was read with it.
func TestVerifyExportHeadInTheMiddle(t *testing.T) {
	s := long(t)
	data := export(t, s)
	for _, size := range []uint64{1, 2, 63, 64, 65, 700, 1499, 1500} {
		head, err := s.HeadAt(t.Context(), size)
		if err != nil {
			t.Fatal(err)
		}
		head.Root[5] ^= 1
		report, err := audit.VerifyExport(bytes.NewReader(data), audit.Trust{Heads: []core.TreeHead{head}})
		if core.CodeOf(err) != core.CodeCorrupt || report.Failure == nil || report.Failure.Seq != size {
			t.Errorf("a head of %d that is wrong: %+v, %v", size, report.Failure, err)
		}
	}
}

// A reader that breaks, or gives nothing for ever, ends verification with what it said.
func TestVerifyExportReaderFails(t *testing.T) {
	data := export(t, filled(t, 300))
	broken := errors.New("disk on fire")
	for _, at := range []int{len(data) / 3, len(data) - 1, len(data)} {
		r := io.MultiReader(bytes.NewReader(data[:at]), iotest.ErrReader(broken))
		if _, err := audit.VerifyExport(r, audit.Trust{}); !errors.Is(err, broken) {
			t.Errorf("broken at %d of %d: %v", at, len(data), err)
		}
	}
	ended := make(chan error, 1)
	go func() {
		_, err := audit.VerifyExport(io.MultiReader(bytes.NewReader(data[:len(data)/2]), nothing{}), audit.Trust{})
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("a reader that gives nothing: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("a reader that gives nothing is read for ever")
	}
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }
