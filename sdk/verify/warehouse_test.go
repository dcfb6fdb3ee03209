package verify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/verify"
)

// A warehouse is a backend that is a process of its own, with a unix socket. What it holds is in files, and so survives
// it: DIR/things/CLUSTER/ID, and DIR/gone/CLUSTER/ID for what must not come again.
//
//	warehouse serve DIR    is one
//	warehouse start DIR    makes one serve in the background, and returns when it answers
//	warehouse stop DIR     kills it
func warehouse() {
	dir := os.Args[2]
	actions := map[string]func(string) error{"serve": serveWarehouse, "start": startWarehouse, "stop": stopWarehouse}
	if err := actions[os.Args[1]](dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func socketOf(dir string) string { return filepath.Join(dir, "s") }

func serveWarehouse(dir string) error {
	if err := os.Remove(socketOf(dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", socketOf(dir))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: &shelves{dir: dir}, ReadHeaderTimeout: time.Minute}
	return server.Serve(l)
}

func startWarehouse(dir string) error {
	cmd := exec.Command(os.Args[0], "serve", dir)
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "pid"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		return err
	}
	return poll("it answers", func() bool { return dials(dir) })
}

func stopWarehouse(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(data))
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	return poll("it is gone", func() bool { return !dials(dir) })
}

func dials(dir string) bool {
	conn, err := net.Dial("unix", socketOf(dir))
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

func poll(what string, ok func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			return fmt.Errorf("not within 30s: %s", what)
		}
	}
	return nil
}

// thing is an instance as the warehouse has it.
type thing struct {
	Instance  sdk.Instance
	Behaviour string
	Out       []sdk.LogLine
}

// shelves answer requests for CLUSTER/ and CLUSTER/ID.
type shelves struct {
	dir string
	mu  sync.Mutex
}

func (s *shelves) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	cluster, id, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	things, gone := filepath.Join(s.dir, "things", cluster), filepath.Join(s.dir, "gone", cluster)
	s.mu.Lock()
	defer s.mu.Unlock()
	status, answer := http.StatusOK, any(nil)
	err := errors.Join(os.MkdirAll(things, 0o700), os.MkdirAll(gone, 0o700))
	switch {
	case err != nil:
	case id == "":
		answer, err = everything(things)
	case r.Method == http.MethodDelete:
		err = os.WriteFile(filepath.Join(gone, id), nil, 0o600) // first: whoever asks for it now comes too late
		if removed := os.Remove(filepath.Join(things, id)); err == nil && !errors.Is(removed, os.ErrNotExist) {
			err = removed
		}
	case r.Method == http.MethodPut:
		status, err = put(filepath.Join(things, id), filepath.Join(gone, id), r)
	}
	if err == nil && r.Method != http.MethodDelete && id != "" && status == http.StatusOK {
		answer, err = os.ReadFile(filepath.Join(things, id))
	}
	if errors.Is(err, os.ErrNotExist) {
		status, err = http.StatusNotFound, nil
	}
	if err != nil {
		status, answer = http.StatusInternalServerError, err.Error()
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // fails only if nobody listens any more
}

// put makes a thing that is not there, if it can be made.
func put(path, gone string, r *http.Request) (int, error) {
	if _, err := os.Stat(gone); err == nil {
		return http.StatusGone, nil
	}
	if _, err := os.Stat(path); err == nil {
		return http.StatusOK, nil
	}
	var t thing
	if err := json.NewDecoder(r.Body).Decode(&t); err != nil {
		return 0, err
	}
	if t.Behaviour == "fails" {
		return http.StatusUnprocessableEntity, nil
	}
	data, err := json.Marshal(t)
	if err != nil {
		return 0, err
	}
	unfinished := gone + ".new" // beside what is gone: an id that ends like this was never there
	if err := os.WriteFile(unfinished, data, 0o600); err != nil {
		return 0, err
	}
	return http.StatusOK, os.Rename(unfinished, path)
}

func everything(dir string) ([][]byte, error) {
	entries, err := os.ReadDir(dir)
	list := [][]byte{}
	for n := 0; err == nil && n < len(entries); n++ {
		var data []byte
		data, err = os.ReadFile(filepath.Join(dir, entries[n].Name()))
		list = append(list, data)
	}
	return list, err
}

// startedWarehouse is a warehouse that runs until the end of the test, and the commands that act on it.
func startedWarehouse(t *testing.T) (dir string, commands verify.Commands) {
	t.Helper()
	dir, err := os.MkdirTemp("", "wh") //nolint:usetesting // sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	program := install(t, "warehouse")
	if out, err := exec.Command(program, "start", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if err := stopWarehouse(dir); err != nil {
			t.Errorf("the warehouse does not run at the end: %v", err)
		}
	})
	return dir, verify.Commands{
		Stop:   program + " stop " + dir,
		Start:  program + " start " + dir,
		Slow:   `pid=$(cat ` + dir + `/pid); if [ "$VERIFY_DELAY_MS" -gt 0 ]; then kill -STOP $pid; else kill -CONT $pid; fi`,
		Holds:  `ls -A ` + dir + `/things/"$VERIFY_CLUSTER" 2>/dev/null; true`,
		Change: `echo >> ` + dir + `/things/"$VERIFY_CLUSTER/$VERIFY_INSTANCE"`,
	}
}

// call sends a request to a warehouse; the status is that of its answer.
func call(ctx context.Context, dir, method, cluster, id string, body, answer any) (int, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socketOf(dir))
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://warehouse/"+url.PathEscape(cluster)+"/"+url.PathEscape(id), strings.NewReader(string(data)))
	if err != nil {
		return 0, err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, unreachable(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	if resp.StatusCode == http.StatusInternalServerError {
		return 0, fmt.Errorf("the warehouse answers %s", resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return 0, unreachable(ctx, err)
	}
	return resp.StatusCode, nil
}

func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return sdk.Unavailable(time.Second, "the warehouse does not answer: %w", err)
}
