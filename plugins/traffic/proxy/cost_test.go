package proxy_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"testing"
)

// A request costs next to no allocation, so that the collector has nothing to do however many there are.
func TestAllocationsPerRequest(t *testing.T) {
	r := newRig(t)
	r.apply(pool(1, thrifty(t)))
	c, _ := r.dial()
	request := []byte("GET /path?query HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test\r\nAccept: */*\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n")
	answer := make([]byte, 4096)
	one := func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		for n := 0; !bytes.HasSuffix(answer[:n], []byte("\r\n\r\nok")); {
			m, err := c.Read(answer[n:])
			if err != nil {
				t.Fatalf("after %q: %v", answer[:n], err)
			}
			n += m
		}
	}
	for range 100 {
		one()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const n = 2000
	for range n {
		one()
	}
	runtime.ReadMemStats(&after)
	if each := float64(after.Mallocs-before.Mallocs) / n; each > 2 {
		t.Errorf("%.1f allocations for each request", each)
	} else {
		t.Logf("%.2f allocations and %d bytes for each request", each, (after.TotalAlloc-before.TotalAlloc)/n)
	}
}

// thrifty is a backend that allocates nothing for a request.
func thrifty(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		buf := make([]byte, 4096)
		answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")
		for n := 0; ; {
			m, err := c.Read(buf[n:])
			if err != nil {
				return
			}
			if n += m; !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
				continue
			}
			n = 0
			if _, err := io.Writer(c).Write(answer); err != nil {
				return
			}
		}
	}()
	return ln.Addr().String()
}
