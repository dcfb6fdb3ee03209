package proxy_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/instarhq/instar/plugins/traffic/proxy/handover"
)

// The state directory is lost under load: the next process takes over all the same, with listeners, routes
// and what is in flight, and remembers them again.
func TestLostDirectoryUnderLoad(t *testing.T) {
	r := newRig(t)
	r.upgrade() // so that each has its channel
	r.apply(pool(1, revision(t, 1)))
	l := startLoad(t, r)
	l.sockets(r, 2)
	if _, err := handover.DialLost(r.dir); !errors.Is(err, handover.ErrNobody) {
		t.Errorf("the back door of a directory that is there: %v, want nobody", err)
	}
	for n := 2; n <= 4; n++ {
		if err := os.RemoveAll(r.dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(r.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		r.upgrade()
		if o := r.observe(); o.Generation != r.route.Generation {
			t.Errorf("the route has generation %d, it had %d", o.Generation, r.route.Generation)
		}
		if left, err := os.ReadDir(r.dir); err != nil || len(left) < 3 {
			t.Errorf("the directory has %v, %v; want the state, the lock and the door", left, err)
		}
		next := revision(t, n)
		l.coming.Store(int64(n))
		r.apply(pool(n, next))
		l.active.Store(int64(n))
		l.more(30)
	}
	r.upgrade() // the ordinary way
	l.more(30)
	l.end()
}

// The back door answers when the directory is gone, and nobody is behind it after it was closed.
func TestBackDoor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := handover.TakeLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Release() })
	door, err := handover.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan bool, 1)
	go func() {
		link, err := door.Accept()
		if err == nil {
			_ = link.Close()
		}
		accepted <- err == nil
	}()
	away := dir + "-away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	link, err := handover.DialLost(dir) // finds nothing at its path, as in another container
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = link.Close() })
	if !<-accepted {
		t.Error("a process whose directory is gone does not answer at the back")
	}
	if err := errors.Join(os.Rename(away, dir), door.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := handover.DialLost(dir); !errors.Is(err, handover.ErrNobody) {
		t.Errorf("after the close: %v, want nobody", err)
	}
}
