package haproxy_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
	"github.com/instarhq/instar/sdk"
)

// TestHostAndPath: the most exact host wins, then the longest path, at segment borders, however the client
// writes it.
func TestHostAndPath(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	d := b.driver()
	listen := b.free()
	add := func(id, host, path string) {
		address, _ := b.serveText(id)
		r := b.route(id, address)
		r.Listen, r.Host, r.Path = listen, host, path
		apply(t, d, r)
	}
	add("any", "", "")
	add("any-api", "", "/api")
	add("shop", "Shop.Example", "")
	add("shop-api", "shop.example", "/api/")
	add("shop-api-v2", "shop.example", "/api/v2")
	add("only-path", "path.example", "/x")
	for _, c := range []struct{ host, path, want string }{
		{"other", "/", "any"},
		{"other", "/api", "any-api"},
		{"other", "/api/1", "any-api"},
		{"other", "/apis", "any"},
		{"other", "/%61pi/1", "any-api"},
		{"shop.example", "/", "shop"},
		{"SHOP.example:8080", "/", "shop"},
		{"shop.example.", "/", "shop"},
		{"shop.example.:80", "/api?x=1", "shop-api"},
		{"shop.example", "/api/v2/y", "shop-api-v2"},
		{"shop.example", "/api/v22", "shop-api"},
		{"path.example", "/x/y", "only-path"},
		{"path.example", "/y", "any"},
		{"[::1]:80", "/", "any"},
	} {
		if status, body := get(t, "http://"+listen+c.path, "Host", c.host); body != c.want {
			t.Errorf("%s%s: %d %q, want %s", c.host, c.path, status, body, c.want)
		}
	}
	if status := raw(t, listen, "GET /x/../api HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n"); !strings.Contains(status, "400") {
		t.Errorf("dot segments got %q, want 400", status)
	}
	twin := b.route("twin", listen)
	twin.Listen, twin.Host, twin.Path = listen, "shop.EXAMPLE", "/api"
	wantCode(t, d.Apply(t.Context(), twin), sdk.CodeConflict, "shop-api", "twin")
	tcp := b.route("tcp", listen)
	tcp.Listen, tcp.Protocol = listen, sdk.ProtocolTCP
	wantCode(t, d.Apply(t.Context(), tcp), sdk.CodeConflict, "listener of its own")
	if err := d.Remove(t.Context(), "any", 2, 0); err != nil {
		t.Fatal(err)
	}
	if status, body := get(t, "http://"+listen+"/", "Host", "other"); status != http.StatusNotFound {
		t.Errorf("after the removal: %d %q, want 404", status, body)
	}
}

// raw sends bytes and returns the first line of what comes back.
func raw(t *testing.T, address, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return line
}

// echoTCP greets each connection with a text and echoes what comes.
func (b *balancer) echoTCP(greeting string) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatalf("%v", err)
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if _, err := io.WriteString(conn, greeting+"\n"); err == nil {
					_, _ = io.Copy(conn, conn)
				}
			}()
		}
	}()
	return l.Addr().String()
}

// TestTCP: connections go on through a switch and a reload, count as in flight, and are ended at the
// deadline.
func TestTCP(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, green := b.echoTCP("blue"), b.echoTCP("green")
	d := b.driver()
	r := b.route("db", blue)
	r.Protocol, r.Drain = sdk.ProtocolTCP, 2*time.Second
	apply(t, d, r)
	dial := func(want string) (net.Conn, *bufio.Reader) {
		conn, err := net.Dial("tcp", r.Listen)
		if err != nil {
			t.Fatal(err)
		}
		reader := bufio.NewReader(conn)
		if line, err := reader.ReadString('\n'); line != want+"\n" {
			t.Fatalf("greeting is %q, %v; want %s", line, err, want)
		}
		return conn, reader
	}
	conn, reader := dial("blue")
	defer func() { _ = conn.Close() }()
	if e := observe(t, d, "db").Pools[0].Endpoints[0]; e.InFlight != 1 {
		t.Errorf("in flight: %+v", e)
	}
	apply(t, d, b.route("other", blue)) // a reload
	if e := observe(t, d, "db").Pools[0].Endpoints[0]; e.InFlight != 1 {
		t.Errorf("in flight after a reload, in the old worker: %+v", e)
	}
	r = next(r, pool(2, 1, green))
	apply(t, d, r)
	second, _ := dial("green")
	_ = second.Close()
	if o := observe(t, d, "db"); len(o.Draining) != 1 || o.Draining[0].ID != "i-1-0" || o.Draining[0].InFlight != 1 {
		t.Errorf("draining: %+v", o.Draining)
	}
	if _, err := io.WriteString(conn, "still there\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := reader.ReadString('\n'); line != "still there\n" {
		t.Errorf("the old connection says %q, %v", line, err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := reader.ReadString('\n'); err != io.EOF {
		t.Errorf("after the drain deadline the old connection gives %v, want its end", err)
	}
	b.await("nothing is draining", func() bool { return len(observe(t, d, "db").Draining) == 0 })
	if err := d.Remove(t.Context(), "db", 5, 0); err != nil {
		t.Fatal(err)
	}
	b.await("the listener is gone", func() bool {
		conn, err := net.Dial("tcp", r.Listen)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
}

// TestDrainDeadline: a request that takes too long is ended, and its slot is free for another endpoint.
func TestDrainDeadline(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, _ := b.serveText("blue")
	green, _ := b.serveText("green")
	d := b.driver()
	r := b.route("web", blue)
	r.Drain = 300 * time.Millisecond
	apply(t, d, r)
	ended := make(chan int, 1)
	go func() {
		status, _ := get(t, "http://"+r.Listen+"/slow")
		ended <- status
	}()
	b.await("the request is under way", func() bool { return observe(t, d, "web").Pools[0].Endpoints[0].InFlight == 1 })
	for revision := 2; revision < 12; revision++ { // more than there is room for, were it not freed
		r = next(r, pool(revision, 1, green))
		apply(t, d, r)
	}
	select {
	case status := <-ended:
		if status == http.StatusOK {
			t.Errorf("the request over its deadline got %d", status)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the request over its deadline was not ended")
	}
	wantText(t, r, "green")
}

// TestCounters: they grow through reloads, restarts of the driver and other tenants of the same slot.
func TestCounters(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, _ := b.serveText("blue")
	d := b.driver()
	r := b.route("web", blue)
	apply(t, d, r)
	send := func(n int) {
		for range n {
			get(t, "http://"+r.Listen+"/")
		}
		get(t, "http://"+r.Listen+"/fail")
	}
	want := func(requests, errors uint64) {
		t.Helper()
		e := observe(t, d, "web").Pools[0].Endpoints[0]
		if e.Requests != requests || e.Errors != errors {
			t.Errorf("%d requests and %d errors are counted, want %d and %d", e.Requests, e.Errors, requests, errors)
		}
	}
	send(9)
	want(10, 1)
	apply(t, d, b.route("other", blue)) // a reload
	want(10, 1)
	send(4)
	want(15, 2)
	b.shut(d)
	d = b.driver()
	send(4)
	want(20, 3)
	r = next(r, pool(2, 1, blue))
	apply(t, d, r)
	want(0, 0)
	send(4)
	r = next(r, pool(3, 1, blue))
	apply(t, d, r)
	b.await("the first slot is free again", func() bool {
		r = next(r, pool(r.Pools[0].Revision+1, 1, blue))
		apply(t, d, r)
		want(0, 0)
		if l := observe(t, d, "web").Pools[0].Endpoints[0].Latency; l.Count != 0 {
			t.Errorf("a new endpoint has the latencies of %d requests", l.Count)
		}
		send(1)
		return r.Pools[0].Revision > 7
	})
}

// TestTLS: the admin's parameters of a bind line make a listener speak TLS and HTTP/2.
func TestTLS(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, _ := b.serveText("blue")
	listen := b.free()
	pemFile, roots := certificate(t, b.Dir())
	d := b.driver("binds", map[string]string{listen: "ssl crt " + pemFile + " alpn h2,http/1.1"})
	r := b.route("web", blue)
	r.Listen = listen
	apply(t, d, r)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "shop.example"}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Get("https://" + listen + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
		t.Errorf("%s %s, want 200 over HTTP/2", res.Proto, res.Status)
	}
	r = next(r, pool(2, 1, blue))
	r.TLS = &sdk.TLS{CertificateFile: pemFile, KeyFile: pemFile}
	wantCode(t, d.Apply(t.Context(), r), sdk.CodeInvalidConfig, "binds")

	bad := b.free()
	d2 := b.driver("binds", map[string]string{bad: "ssl crt /nonexistent.pem"})
	wrong := b.route("wrong", blue)
	wrong.Listen = bad
	wantCode(t, d2.Apply(t.Context(), wrong), sdk.CodeUnavailable, "would not load", "/nonexistent.pem")
}

func certificate(t *testing.T, dir string) (file string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"shop.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	file = filepath.Join(dir, "shop.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(cert)
	return file, roots
}

// TestEveryAddress: a listener without a host is there at every address, also after a reload.
func TestEveryAddress(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, _ := b.serveText("blue")
	d := b.driver()
	r := b.route("web", blue)
	_, port, err := net.SplitHostPort(r.Listen)
	if err != nil {
		t.Fatal(err)
	}
	r.Listen = ":" + port
	apply(t, d, r)
	apply(t, d, b.route("other", blue))
	for _, host := range []string{"127.0.0.1", "127.9.9.9"} {
		if status, body := get(t, "http://"+host+":"+port+"/"); body != "blue" {
			t.Errorf("%s: %d %q", host, status, body)
		}
	}
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		_ = l.Close()
		if status, body := get(t, "http://[::1]:"+port+"/"); body != "blue" {
			t.Errorf("[::1]: %d %q", status, body)
		}
	}
}

// TestHostileNames: whatever an id, host or path has in it, HAProxy's configuration stays what it should be.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	blue, _ := b.serveText("blue")
	d := b.driver()
	for _, id := range []string{"läden/straße", "a b\nbackend evil", strings.Repeat("x", 300), "web--0123456789ab", "-", `"'#\`} {
		r := b.route(id, blue)
		apply(t, d, r)
		wantText(t, r, "blue")
		r = next(r, pool(2, 1, blue))
		apply(t, d, r)
		if o := observe(t, d, id); o.Generation != 2 || o.Pools[0].Revision != 2 {
			t.Errorf("%q: %+v", id, o)
		}
		if err := d.Remove(t.Context(), id, 3, 0); err != nil {
			t.Errorf("remove %q: %v", id, err)
		}
	}
	good := b.route("good", blue)
	for what, change := range map[string]func(*sdk.Route){
		"id":         func(r *sdk.Route) { r.ID = "" },
		"generation": func(r *sdk.Route) { r.Generation = 0 },
		"listen":     func(r *sdk.Route) { r.Listen = "127.0.0.1:80 ssl crt x:1" },
		"host":       func(r *sdk.Route) { r.Host = "a b" },
		"path":       func(r *sdk.Route) { r.Path = "/a\n/b" },
		"pools":      func(r *sdk.Route) { r.Pools = []sdk.Pool{pool(1, 1, "127.0.0.1:80\n")} },
		"protocol":   func(r *sdk.Route) { r.Protocol = "udp" },
		"balance":    func(r *sdk.Route) { r.Config = []byte(`{"balance":"x\n"}`) },
		"check_path": func(r *sdk.Route) { r.Config = []byte(`{"check_path":"/ x"}`) },
	} {
		r := good
		change(&r)
		err := d.Apply(t.Context(), r)
		wantCode(t, err, sdk.CodeInvalidConfig)
		if !strings.Contains(fmt.Sprint(err), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestWorkerCount: changes of pools, weights and instances within the prepared room do without a reload.
func TestNoReload(t *testing.T) {
	t.Parallel()
	b := startBalancer(t)
	var addresses []string
	for n := range 4 {
		address, _ := b.serveText(fmt.Sprint(n))
		addresses = append(addresses, address)
	}
	d := b.driver()
	r := b.route("web", addresses[0])
	apply(t, d, r)
	worker := func() socket.Worker {
		procs, err := socket.Master{Path: b.Socket()}.Processes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w, _ := procs.Current()
		return w
	}
	before := worker()
	r = next(r, pool(1, 1, addresses[:4]...))
	apply(t, d, r)
	r = next(r, pool(1, 95, addresses[0]), pool(2, 5, addresses[1:3]...), pool(3, 0, addresses[3]))
	apply(t, d, r)
	r.Host = "shop.example"
	r = next(r, pool(2, 1, addresses[1:]...))
	apply(t, d, r)
	if after := worker(); after.PID != before.PID {
		t.Errorf("worker %d was replaced by %d, and nothing needed that", before.PID, after.PID)
	}
	r = next(r, pool(2, 1, append(addresses, addresses[:3]...)...)) // seven endpoints, four slots
	apply(t, d, r)
	if after := worker(); after.PID == before.PID {
		t.Error("seven endpoints fitted into four slots")
	}
	if o := observe(t, d, "web"); len(o.Pools[0].Endpoints) != 7 {
		t.Errorf("the route has %d endpoints, want 7", len(o.Pools[0].Endpoints))
	}
}
