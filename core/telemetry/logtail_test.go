package telemetry_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/instarhq/instar/core/telemetry"
)

func TestLogTail(t *testing.T) {
	tail := telemetry.NewLogTail(3, 12)
	kept := func() string {
		var out strings.Builder
		if _, err := tail.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	for i := range 5 {
		if n, err := fmt.Fprintf(tail, "%d\n", i); n != 2 || err != nil {
			t.Fatal(n, err)
		}
	}
	if got := kept(); got != "2\n3\n4\n" {
		t.Errorf("%q", got)
	}
	if _, err := tail.Write([]byte("ten bytes\n")); err != nil {
		t.Fatal(err)
	}
	if got := kept(); got != "4\nten bytes\n" {
		t.Errorf("%q", got)
	}
	if n, err := tail.Write([]byte(strings.Repeat("x", 99))); n != 99 || err != nil {
		t.Fatal(n, err)
	}
	if got := kept(); got != strings.Repeat("x", 12) {
		t.Errorf("%q", got)
	}
}
