package lab_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/instarhq/instar/e2e/lab"
)

func TestHostsAndCuts(t *testing.T) {
	l, err := lab.New(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := 1; i <= 2; i++ {
		serve(t, l, i)
	}
	reaches := func(from, to int) bool {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		conn, err := l.DialFrom(ctx, from, "tcp", l.Address(to)+":7")
		return err == nil && conn.Close() == nil
	}
	whole := func() bool { return reaches(1, 2) && reaches(2, 1) }
	if !whole() {
		t.Fatal("the hosts do not reach each other")
	}
	for name, do := range map[string]func() error{
		"one way":   func() error { return l.Cut(t.Context(), 1, 2) },
		"both ways": func() error { return l.Part(t.Context(), 1, 2) },
		"isolated":  func() error { return l.Isolate(t.Context(), 2) },
		"unplugged": func() error { return l.Unplug(t.Context(), 1, true) },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if reaches(1, 2) {
			t.Errorf("%s: host 1 still reaches host 2", name)
		}
		if name == "isolated" {
			conn, err := l.Dial(t.Context(), "tcp", l.Address(2)+":7")
			if err != nil {
				t.Errorf("a client does not reach a host that is cut off from the others: %v", err)
			} else if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := errors.Join(l.Heal(t.Context()), l.Unplug(t.Context(), 1, false)); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(30 * time.Second); !whole(); {
			if time.Now().After(end) {
				t.Fatalf("%s: not healed", name)
			}
		}
	}
}

func serve(t *testing.T, l *lab.Lab, i int) {
	t.Helper()
	listener, err := l.Listen(t.Context(), i, "tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_ = conn.Close()
			}
		}
	}()
}
