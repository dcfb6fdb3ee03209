package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// server is one proxy under measurement, or the backend.
type server struct {
	name    string
	address string
	stop    func() error
}

// freeAddress finds a loopback address that nobody listens on just now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// startAll starts the backend and the proxies, instar first. What was started is returned also with an
// error; the backend is stopped with the first of them.
func startAll(ctx context.Context, dir string) (servers []*server, err error) {
	backend, err := startBackend(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	for _, start := range []func(context.Context, string, string) (*server, error){
		startInstar, startNginx, startHAProxy, startCaddy,
	} {
		s, err := start(ctx, dir, backend.address)
		if s != nil {
			servers = append(servers, s)
		}
		if err != nil {
			return servers, errors.Join(err, backend.stop())
		}
	}
	stop := servers[0].stop
	servers[0].stop = func() error { return errors.Join(stop(), backend.stop()) }
	return servers, nil
}

// startProcess starts a program that stays in the foreground, and waits until it answers.
func startProcess(ctx context.Context, dir, name, address, program string, args ...string) (*server, error) {
	path, err := find(program)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own copy
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is ended by a signal
		close(done)
	}()
	s := &server{name: name, address: address, stop: func() error { return end(cmd.Process, done) }}
	if err := answers(ctx, address); err != nil {
		said, _ := os.ReadFile(log.Name()) // if it cannot be read there is nothing to add
		return s, fmt.Errorf("%s: %w\n%s", name, err, said)
	}
	return s, nil
}

// end stops a process in order, and by force if it does not go.
func end(p *os.Process, done <-chan struct{}) error {
	_ = p.Signal(syscall.SIGTERM) // fails only if it has ended
	select {
	case <-done:
		return nil
	case <-time.After(5 * time.Second):
		_ = p.Kill()
		<-done
		return nil
	}
}

// answers waits until a server gives both answers whole.
func answers(ctx context.Context, address string) error {
	var last error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; <-time.After(20 * time.Millisecond) {
		last = errors.Join(answer(ctx, address, "/small", smallSize), answer(ctx, address, "/large", largeSize))
		if last == nil {
			return nil
		}
	}
	return errors.Join(last, ctx.Err())
}

func answer(ctx context.Context, address, path string, size int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // only its head counts
	if resp.StatusCode != http.StatusOK || resp.ContentLength != size {
		return fmt.Errorf("%s: %s with %d bytes, want 200 with %d", path, resp.Status, resp.ContentLength, size)
	}
	return nil
}
