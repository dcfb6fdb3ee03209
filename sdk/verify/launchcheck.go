package verify

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
	"github.com/instarhq/instar/sdk/wire"
)

// processChecks are about the driver as a process.
func (v *verifier) processChecks(d sdk.Description) []sdktest.Check {
	return []sdktest.Check{
		{Name: "process/file-name", Promise: "the file is called instar-KIND-NAME", Run: func(t sdktest.T) {
			want := "instar-" + string(d.Kind) + "-" + d.Name
			got := filepath.Base(v.path)
			if !strings.HasPrefix(got, "instar-") {
				t.Skipf("instard finds it only as %s", want)
			}
			if got != want {
				t.Errorf("it is called %s, want %s", got, want)
			}
		}},
		{Name: "process/by-hand", Promise: "run by hand it explains itself and exits with status 2", Run: v.checkByHand},
		{Name: "process/outlives-signals", Promise: "I9: it outlives the signals of a dying daemon", Run: func(t sdktest.T) { v.checkSignals(t, d.Kind) }},
		{Name: "process/sigterm", Promise: "it ends at SIGTERM", Run: func(t sdktest.T) {
			p := v.launch(t, v.newTarget(t))
			ctx, cancel := context.WithTimeout(t.Context(), stopGrace)
			defer cancel()
			began := time.Now()
			if err := p.Stop(ctx); err != nil {
				t.Fatalf("%v", err)
			}
			if took := time.Since(began); took >= stopGrace {
				t.Errorf("it did not end within %s of SIGTERM", stopGrace)
			}
		}},
		{Name: "process/stranger", Promise: "it refuses a caller without the daemon's key", Run: func(t sdktest.T) { v.checkStranger(t, d.Kind) }},
	}
}

func (v *verifier) checkByHand(t sdktest.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, v.path)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("it ended with %v, want exit status 2", err)
	}
	if strings.TrimSpace(stderr.String()) == "" {
		t.Errorf("it wrote nothing to standard error")
	}
}

func (v *verifier) checkSignals(t sdktest.T, kind sdk.Kind) {
	p := v.launch(t, v.newTarget(t))
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE} {
		if err := syscall.Kill(p.State().PID, sig); err != nil {
			t.Fatalf("%v: %v", sig, err)
		}
		select {
		case <-p.Done():
			t.Fatalf("%v ended it: %s", sig, p.Exit())
		case <-time.After(200 * time.Millisecond):
		}
	}
	if _, err := p.driver(t, kind).Describe(t.Context()); err != nil {
		t.Errorf("Describe after the signals: %v", err)
	}
}

// checkStranger calls with a fresh key, as any other user of the machine could.
func (v *verifier) checkStranger(t sdktest.T, kind sdk.Kind) {
	target := v.newTarget(t)
	p := v.launch(t, target)
	certificate, err := os.ReadFile(filepath.Join(p.State().Dir, "driver.crt"))
	if err != nil {
		t.Fatalf("%v", err)
	}
	stranger, err := wire.NewIdentity("stranger")
	if err != nil {
		t.Fatalf("%v", err)
	}
	tlsConfig, err := wire.ClientTLS(stranger, certificate)
	if err != nil {
		t.Fatalf("%v", err)
	}
	conn, err := grpc.NewClient("unix:"+p.State().Socket, grpc.WithTransportCredentials(credentials.NewTLS(tlsConfig)))
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer func() { _ = conn.Close() }() // nothing is under way
	d, err := wire.NewClient(kind, conn)
	if err != nil {
		t.Fatalf("%v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := d.Describe(ctx); err == nil {
		t.Errorf("it answered a caller with another key")
	}
}
