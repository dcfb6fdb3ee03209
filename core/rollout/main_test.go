package rollout_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain makes rapid try more than its default of 100 random worlds; -rapid.checks still overrules it.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "1000"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
