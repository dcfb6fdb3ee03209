package handover_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/traffic/proxy/handover"
)

// pair opens a door in a directory with a long path and returns both ends of a link through it.
func pair(t *testing.T) (inside, outside *handover.Link) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	door, err := handover.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = door.Close() })
	if outside, err = handover.Dial(dir); err != nil {
		t.Fatal(err)
	}
	if inside, err = door.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*handover.Link{inside, outside} {
		l.Within(10 * time.Second)
		t.Cleanup(func() { _ = l.Close() })
	}
	return inside, outside
}

func TestMessagesAndSockets(t *testing.T) {
	inside, outside := pair(t)
	var sockets []*net.TCPListener
	for range 3 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		sockets = append(sockets, ln.(*net.TCPListener))
	}
	sent := make(chan error, 1)
	go func() {
		err := inside.Send(strings.Repeat("x", 1<<20)) // more than a socket's buffer
		for _, ln := range sockets {
			err = errors.Join(err, inside.SendSocket(ln))
		}
		sent <- errors.Join(err, inside.Send("behind"))
	}()
	var got string
	if err := outside.Receive(&got); err != nil || len(got) != 1<<20 {
		t.Fatalf("received %d bytes, %v", len(got), err)
	}
	for _, ln := range sockets {
		copied, err := outside.ReceiveSocket()
		if err != nil {
			t.Fatal(err)
		}
		if copied.Addr().String() != ln.Addr().String() {
			t.Errorf("received the socket of %s, want %s", copied.Addr(), ln.Addr())
		}
		_ = ln.Close() // the copy goes on
		c, err := net.Dial("tcp", copied.Addr().String())
		if err != nil {
			t.Fatalf("after the original was closed: %v", err)
		}
		accepted, err := copied.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = accepted.Close(), c.Close()
		_ = copied.Close()
	}
	if err := outside.Receive(&got); err != nil || got != "behind" {
		t.Errorf("behind the sockets: %q, %v", got, err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestLastWordsAreHeardAfterAFailedSend(t *testing.T) {
	inside, outside := pair(t)
	if err := errors.Join(inside.Send("last words"), inside.Close()); err != nil {
		t.Fatal(err)
	}
	if err := outside.SendWithin(time.Second, "too late"); err == nil {
		t.Error("sent to nobody")
	}
	var got string
	if err := outside.Receive(&got); err != nil || got != "last words" {
		t.Errorf("received %q, %v", got, err)
	}
	if err := outside.Receive(&got); !errors.Is(err, io.EOF) {
		t.Errorf("then %v", err)
	}
}

func TestSendWithinGivesUp(t *testing.T) {
	_, outside := pair(t)
	if err := outside.SendWithin(50*time.Millisecond, strings.Repeat("x", 16<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("sending to a process that does not listen: %v", err)
	}
	if err := outside.Send("more"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after half a message: %v", err)
	}
}

func TestWhatIsNoMessage(t *testing.T) {
	inside, outside := pair(t)
	if err := inside.Send("no socket"); err != nil {
		t.Fatal(err)
	}
	if ln, err := outside.ReceiveSocket(); err == nil {
		t.Errorf("received %v", ln.Addr())
	}
}

func TestLockAndDoor(t *testing.T) {
	dir := t.TempDir()
	if _, err := handover.Dial(dir); !errors.Is(err, handover.ErrNobody) {
		t.Errorf("nobody was ever there: %v", err)
	}
	lock, err := handover.TakeLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := handover.TakeLock(dir); !errors.Is(err, handover.ErrLocked) {
		t.Errorf("a second lock: %v", err)
	}
	door, err := handover.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "door")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the door is %v, %v", info, err)
	}
	if err := errors.Join(door.Close(), lock.Release()); err != nil {
		t.Fatal(err)
	}
	if _, err := handover.Dial(dir); !errors.Is(err, handover.ErrNobody) {
		t.Errorf("behind a closed door: %v", err)
	}
	again, err := handover.TakeLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Release() }()
	if door, err = handover.Open(dir); err != nil { // over what the last process has left
		t.Fatal(err)
	}
	_ = door.Close()
}
