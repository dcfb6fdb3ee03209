package dockertest

import (
	"errors"
	"os"
	"testing"
)

// Need ends a test whose engine did not start. For a user who cannot run one (ErrNotRoot) the test is skipped, except where
// the environment has CI: there a part that is missing is a failure.
func Need(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, ErrNotRoot) && os.Getenv("CI") == "":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}
