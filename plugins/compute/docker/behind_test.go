package docker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/instarhq/instar/plugins/compute/docker"
)

// Who calls gets what the work gives, its panic too, or the end of the own patience: then the work goes on.
func TestBehind(t *testing.T) {
	t.Parallel()
	failure := errors.New("no")
	if n, err := docker.Behind(t.Context(), func() (int, error) { return 7, failure }); n != 7 || !errors.Is(err, failure) {
		t.Errorf("it gives %d, %v", n, err)
	}
	func() {
		defer func() {
			if p := fmt.Sprint(recover()); !strings.Contains(p, "out of order") || !strings.Contains(p, "behind_test.go") {
				t.Errorf("the caller got %q, want the panic and where it came from", p)
			}
		}()
		_, _ = docker.Behind(t.Context(), func() (int, error) { panic("out of order") })
	}()
	ctx, cancel := context.WithCancel(t.Context())
	going, enough := make(chan bool), make(chan bool)
	_, err := docker.Behind(ctx, func() (int, error) {
		cancel()
		<-enough
		close(going)
		return 0, nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a call that was cancelled gives %v", err)
	}
	close(enough)
	<-going
}
