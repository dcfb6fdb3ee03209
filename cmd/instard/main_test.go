package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/instarhq/instar/core"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"instard": main}) }

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata"})
}

func TestExitCodes(t *testing.T) {
	tests := []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("broken"), 1},
		{core.Errorf(core.CodeUnavailable, "in use").WithHint("stop it"), 1},
		{usagef("what?"), 2},
		{fmt.Errorf("wrapped: %w", usagef("what?")), 2},
	}
	for _, tt := range tests {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("exit code %d for %v, want %d", got, tt.err, tt.want)
		}
	}
}
