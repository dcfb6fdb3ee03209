package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/instarhq/instar/sdk"
)

// testBackend is a backend that is a process: whoever connects to its socket gets an answer.
func testBackend() {
	path := os.Args[1]
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	l, err := net.Listen("unix", path)
	for err == nil {
		var conn net.Conn
		if conn, err = l.Accept(); err == nil {
			_, _ = io.WriteString(conn, "yes") // a driver that has gone needs no answer
			_ = conn.Close()
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// endBackend ends the backend that a script has left, which then has failed.
func endBackend(dir string) {
	data, err := os.ReadFile(filepath.Join(dir, "backend.pid"))
	if err != nil {
		return
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
	}
}

// remoteDriver is a driver that can do nothing without the answer of its backend.
type remoteDriver struct {
	*computeDriver
	backend string
}

// ask gets the backend's answer.
func (d *remoteDriver) ask(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", d.backend)
	if err != nil {
		return sdk.Unavailable(time.Second, "%w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // ends the wait
	answer, err := io.ReadAll(conn)
	_ = conn.Close() // read to its end
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil || string(answer) != "yes" {
		return sdk.Unavailable(time.Second, "no answer of the backend: %w", err)
	}
	return nil
}

func (d *remoteDriver) Probe(ctx context.Context, report func(sdk.Health) error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		h := sdk.Health{Healthy: true}
		if err := d.ask(ctx); err != nil {
			h = sdk.Health{Reason: err.Error()}
		}
		if err := report(h); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (d *remoteDriver) Create(ctx context.Context, spec sdk.InstanceSpec) (sdk.Instance, error) {
	if err := d.ask(ctx); err != nil {
		return sdk.Instance{}, err
	}
	return d.computeDriver.Create(ctx, spec)
}

func (d *remoteDriver) Destroy(ctx context.Context, id string, grace time.Duration) error {
	if err := d.ask(ctx); err != nil {
		return err
	}
	return d.computeDriver.Destroy(ctx, id, grace)
}

func (d *remoteDriver) Inspect(ctx context.Context, id string) (sdk.Instance, error) {
	if err := d.ask(ctx); err != nil {
		return sdk.Instance{}, err
	}
	return d.computeDriver.Inspect(ctx, id)
}

func (d *remoteDriver) List(ctx context.Context, cluster string) ([]sdk.Instance, error) {
	if err := d.ask(ctx); err != nil {
		return nil, err
	}
	return d.computeDriver.List(ctx, cluster)
}
