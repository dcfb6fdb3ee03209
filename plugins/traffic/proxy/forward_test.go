package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"

	"github.com/instarhq/instar/sdk"
)

// both runs a test with an HTTP/1.1 and an HTTP/2 client.
func both(t *testing.T, test func(t *testing.T, r *rig, c *http.Client)) {
	t.Run("HTTP/1.1", func(t *testing.T) { test(t, newRig(t), client(t)) })
	t.Run("HTTP/2", func(t *testing.T) { test(t, newRig(t), h2client(t)) })
}

func TestForwarding(t *testing.T) {
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		var seen *http.Request
		var body string
		r.serve(func(w http.ResponseWriter, req *http.Request) {
			data, _ := io.ReadAll(req.Body)
			seen, body = req.Clone(context.Background()), string(data)
			w.Header().Set("Connection", "X-Internal")
			w.Header().Set("X-Internal", "1")
			w.Header().Set("Keep-Alive", "timeout=5")
			w.Header().Add("Set-Cookie", "a=1")
			w.Header().Add("Set-Cookie", "b=2")
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "short and stout")
		})
		req, err := http.NewRequest(http.MethodPut, r.url("/a%2Fb/../c?q=%zz&r=1"), strings.NewReader("tea"))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "shop.example:8080"
		for k, v := range map[string]string{
			"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "gopher", "X-Forwarded-Host": "evil", "Forwarded": "for=6.6.6.6",
			"Proxy-Authorization": "secret", "TE": "trailers", "X-Own": "kept", "User-Agent": "test",
		} {
			req.Header.Set(k, v)
		}
		resp, err := c.Do(req)
		if got := text(t, resp, err); got != "short and stout" || resp.StatusCode != http.StatusTeapot {
			t.Errorf("answered %s %q", resp.Status, got)
		}
		if body != "tea" || seen.Method != http.MethodPut || seen.RequestURI != "/a%2Fb/../c?q=%zz&r=1" || seen.Host != "shop.example:8080" {
			t.Errorf("the backend saw %s %s for %s with %q", seen.Method, seen.RequestURI, seen.Host, body)
		}
		for k, want := range map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "shop.example:8080", "Forwarded": "",
			"Proxy-Authorization": "", "Te": "trailers", "X-Own": "kept", "User-Agent": "test", "Content-Length": "3",
		} {
			if got := strings.Join(seen.Header[k], "|"); got != want {
				t.Errorf("the backend saw %s %q, want %q", k, got, want)
			}
		}
		if len(resp.Header["Set-Cookie"]) != 2 || resp.Header.Get("Date") == "" {
			t.Errorf("the client saw %v", resp.Header)
		}
		for _, k := range []string{"X-Internal", "Keep-Alive", "Connection", "Instar-Revision"} {
			if _, ok := resp.Header[k]; ok {
				t.Errorf("the client saw %s: %s", k, resp.Header[k])
			}
		}
	})
}

func TestTrustedProxies(t *testing.T) {
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		req := configure(r.dir)
		req.Config = []byte(`{"trusted_proxies":["127.0.0.0/8"]}`)
		if err := r.driver.Configure(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		r.serve(func(w http.ResponseWriter, req *http.Request) {
			h := req.Header
			_, _ = fmt.Fprint(w, h["X-Forwarded-For"], h["X-Forwarded-Proto"], h["X-Forwarded-Host"], h["Forwarded"])
		})
		get, _ := http.NewRequest(http.MethodGet, r.url("/"), nil)
		get.Header = http.Header{
			"X-Forwarded-For": {"1.1.1.1, 2.2.2.2", "3.3.3.3"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"h"}, "Forwarded": {"for=1"},
		}
		resp, err := c.Do(get)
		if got := text(t, resp, err); got != "[1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1] [https] [h] [for=1]" {
			t.Errorf("the backend saw %s", got)
		}
	})
}

func TestBodiesOfAllSizes(t *testing.T) {
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		r.serve(func(w http.ResponseWriter, req *http.Request) {
			data, err := io.ReadAll(req.Body)
			if err != nil {
				t.Errorf("the backend read %d bytes: %v", len(data), err)
			}
			if req.URL.Query().Has("length") {
				w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			}
			_, _ = w.Write(data)
		})
		random := rand.NewChaCha8([32]byte{})
		for _, size := range []int{0, 1, 100, 4095, 4096, 8192, 65535, 65536, 65546, 200_000, 3 << 20} {
			data := make([]byte, size)
			_, _ = random.Read(data)
			for _, query := range []string{"", "?length"} {
				for _, known := range []bool{true, false} {
					var body io.Reader = bytes.NewReader(data)
					if !known {
						body = io.MultiReader(body) // hides the length: chunked
					}
					resp, err := c.Post(r.url("/"+query), "application/octet-stream", body)
					if got := text(t, resp, err); sha256.Sum256([]byte(got)) != sha256.Sum256(data) {
						t.Errorf("%d bytes (known %v, %q): %d came back, and not the same", size, known, query, len(got))
					}
				}
			}
		}
		if e := r.endpoint(); e.InFlight != 0 || e.Errors != 0 {
			t.Errorf("afterwards: %+v", e)
		}
	})
}

func TestTrailersAndInterimAnswers(t *testing.T) {
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		r.serve(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Link", "</style.css>")
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.Copy(io.Discard, req.Body)
			w.Header().Del("Link")
			w.Header().Set("Trailer", "X-Sum")
			_, _ = fmt.Fprintf(w, "request trailer: %s", req.Trailer.Get("X-Check"))
			w.Header().Set("X-Sum", "42")
		})
		hints := 0
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if code == http.StatusEarlyHints && h.Get("Link") == "</style.css>" {
				hints++
			}
			return nil
		}})
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, r.url("/"), io.MultiReader(strings.NewReader("body")))
		req.Trailer = http.Header{"X-Check": {"sent"}}
		resp, err := c.Do(req)
		if got := text(t, resp, err); got != "request trailer: sent" {
			t.Errorf("the backend says %q", got)
		}
		if resp.Trailer.Get("X-Sum") != "42" || hints != 1 {
			t.Errorf("trailer %v, %d early hints", resp.Trailer, hints)
		}
	})
}

func TestStreaming(t *testing.T) {
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		next := make(chan string)
		r.serve(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			control := http.NewResponseController(w)
			_ = control.Flush()
			for event := range next {
				_, _ = io.WriteString(w, event)
				_ = control.Flush()
			}
		})
		resp, err := c.Get(r.url("/"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		for i := range 5 { // each one arrives before the next is written
			event := fmt.Sprintf("data: %d\n\n", i)
			next <- event
			got := make([]byte, len(event))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != event {
				t.Fatalf("event %d arrived as %q, %v", i, got, err)
			}
		}
		close(next)
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Errorf("the end arrived as %q, %v", rest, err)
		}
	})
}

func TestAnswerBeginsBeforeTheRequestEnds(t *testing.T) {
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		r.serve(func(w http.ResponseWriter, req *http.Request) {
			control := http.NewResponseController(w)
			_ = control.EnableFullDuplex()
			in := bufio.NewReader(req.Body)
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				_, _ = io.WriteString(w, "echo "+line)
				_ = control.Flush()
			}
		})
		out, in := io.Pipe()
		req, _ := http.NewRequest(http.MethodPost, r.url("/"), out)
		go func() { _, _ = io.WriteString(in, "1\n") }()
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		answers := bufio.NewReader(resp.Body)
		for i := 1; i <= 3; i++ {
			if line, err := answers.ReadString('\n'); line != fmt.Sprintf("echo %d\n", i) {
				t.Fatalf("got %q, %v", line, err)
			}
			if i < 3 {
				_, _ = fmt.Fprintf(in, "%d\n", i+1)
			}
		}
		_ = in.Close()
		if rest, err := io.ReadAll(answers); err != nil || len(rest) > 0 {
			t.Errorf("the end is %q, %v", rest, err)
		}
	})
}

func TestStatusesWithoutBody(t *testing.T) {
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		r.serve(func(w http.ResponseWriter, req *http.Request) {
			switch req.URL.Path {
			case "/304":
				w.Header().Set("Etag", `"x"`)
				w.WriteHeader(http.StatusNotModified)
			case "/204":
				w.WriteHeader(http.StatusNoContent)
			default:
				w.Header().Set("Content-Length", "1234")
				if req.Method != http.MethodHead {
					_, _ = w.Write(make([]byte, 1234))
				}
			}
		})
		for i, want := range []struct {
			method, path string
			status       int
			length       int64
		}{{"GET", "/304", 304, 0}, {"GET", "/204", 204, 0}, {"HEAD", "/", 200, 1234}, {"GET", "/", 200, 1234}, {"HEAD", "/", 200, 1234}} {
			req, _ := http.NewRequest(want.method, r.url(want.path), nil)
			resp, err := c.Do(req)
			body := text(t, resp, err)
			if resp.StatusCode != want.status || resp.ContentLength > 0 && resp.ContentLength != want.length {
				t.Errorf("%d: %s %s: %s with length %d", i, want.method, want.path, resp.Status, resp.ContentLength)
			}
			if want.method == "HEAD" && (resp.ContentLength != 1234 || body != "") {
				t.Errorf("%d: HEAD has length %d and body %q", i, resp.ContentLength, body)
			}
		}
	})
}

func TestPreview(t *testing.T) {
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		named := func(name string) string {
			return backend(t, func(w http.ResponseWriter, req *http.Request) {
				if req.Header.Get(sdk.PreviewHeader) != "" {
					t.Errorf("%s saw the preview header", name)
				}
				_, _ = io.WriteString(w, name)
			})
		}
		green := pool(2, named("green"))
		green.Weight, green.Preview = 0, true
		r.apply(pool(1, named("blue")), green)
		for _, c2 := range []struct {
			header, body, revision string
			status                 int
		}{{"", "blue", "", 200}, {"2", "green", "2", 200}, {"1", "", "", 404}, {"3", "", "", 404}, {"x", "", "", 404}, {"-2", "", "", 404}} {
			req, _ := http.NewRequest(http.MethodGet, r.url("/"), nil)
			if c2.header != "" {
				req.Header.Set(sdk.PreviewHeader, c2.header)
			}
			resp, err := c.Do(req)
			body := text(t, resp, err)
			if resp.StatusCode != c2.status || c2.status == 200 && body != c2.body || resp.Header.Get("Instar-Revision") != c2.revision {
				t.Errorf("preview %q: %s %q, revision %q", c2.header, resp.Status, body, resp.Header.Get("Instar-Revision"))
			}
		}
	})
}

func TestRoutesShareAListener(t *testing.T) {
	r := newRig(t)
	add := func(id, host, path string) {
		route := r.route
		route.ID, route.Host, route.Path, route.Generation = id, host, path, 1
		route.Pools = []sdk.Pool{pool(1, backend(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, id) }))}
		if err := r.driver.Apply(t.Context(), route); err != nil {
			t.Fatal(err)
		}
	}
	add("shop", "shop.example", "")
	add("api", "shop.example", "/api")
	for _, c := range []*http.Client{client(t), h2client(t)} {
		for _, want := range []struct{ host, path, body string }{
			{"shop.example", "/", "shop"}, {"shop.example:81", "/api/x", "api"}, {"SHOP.example", "/apix", "shop"}, {"other", "/", "no route matches this host and path\n"},
		} {
			req, _ := http.NewRequest(http.MethodGet, r.url(want.path), nil)
			req.Host = want.host
			resp, err := c.Do(req)
			if got := text(t, resp, err); got != want.body {
				t.Errorf("%s%s: %q, want %q", want.host, want.path, got, want.body)
			}
		}
	}
	if err := r.driver.Remove(t.Context(), "shop", 2, 0); err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest(http.MethodGet, r.url("/"), nil)
	req.Host = "shop.example"
	resp, err := client(t).Do(req)
	if _ = text(t, resp, err); resp.StatusCode != http.StatusNotFound {
		t.Errorf("a removed route answers %s", resp.Status)
	}
}

func TestHTTP10(t *testing.T) {
	r := newRig(t)
	r.serve(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "a")
		_ = http.NewResponseController(w).Flush() // chunked from here
		_, _ = io.WriteString(w, "b")
	})
	got := r.raw("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	if !strings.HasSuffix(got, "\r\n\r\nab") || !strings.Contains(got, "Connection: close\r\n") || strings.Contains(got, "chunked") {
		t.Errorf("an HTTP/1.0 client got %q", got)
	}
	r.serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "sized") })
	got = r.raw("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n")
	if strings.Count(got, "sized") != 2 || !strings.Contains(got, "Connection: keep-alive\r\n") {
		t.Errorf("a keep-alive HTTP/1.0 client got %q", got)
	}
}

func TestBackendWithoutLength(t *testing.T) {
	both(t, func(t *testing.T, r *rig, c *http.Client) {
		r.apply(pool(1, rawBackend(t, func(conn net.Conn, in *bufio.Reader) {
			readHead(t, in)
			_, _ = io.WriteString(conn, "HTTP/1.0 200 Fine\r\nA: b\r\n\r\nuntil the end")
		})))
		for range 2 {
			resp, err := c.Get(r.url("/"))
			if got := text(t, resp, err); got != "until the end" || resp.Header.Get("A") != "b" {
				t.Errorf("got %q, %v", got, resp.Header)
			}
		}
	})
}

func TestPipelining(t *testing.T) {
	r := newRig(t)
	r.serve(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		_, _ = fmt.Fprintf(w, "[%s %s]", req.URL.Path, body)
	})
	got := r.raw("POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na" +
		"POST /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n" +
		"\r\nGET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	for _, want := range []string{"[/1 a]", "[/2 b]", "[/3 ]"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in %q", want, got)
		}
	}
}

func TestExpectContinue(t *testing.T) {
	r := newRig(t)
	r.serve(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/no" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		body, _ := io.ReadAll(req.Body)
		_, _ = w.Write(body)
	})
	c, in := r.dial()
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	if head := readHead(t, in); !strings.HasPrefix(head, "HTTP/1.1 100 ") {
		t.Fatalf("before the body the client got %q", head)
	}
	_, _ = io.WriteString(c, "bodyPOST /no HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	resp, err := http.ReadResponse(in, nil)
	if got := text(t, resp, err); got != "body" {
		t.Errorf("got %q", got)
	}
	resp, err = http.ReadResponse(in, nil)
	if _ = text(t, resp, err); resp.StatusCode != http.StatusForbidden || !resp.Close {
		t.Errorf("a refused body: %s, close %v", resp.Status, resp.Close)
	}
}
