package proxy_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
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

	"github.com/coder/websocket"

	"github.com/instarhq/instar/sdk"
)

// certify writes a fresh self-signed key pair for the names and returns its files.
func certify(t testing.TB, dir, name string, serial int64, hosts ...string) sdk.TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: hosts,
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
	files := sdk.TLS{CertificateFile: filepath.Join(dir, name+".crt"), KeyFile: filepath.Join(dir, name+".key")}
	for path, block := range map[string]*pem.Block{
		files.KeyFile: {Type: "PRIVATE KEY", Bytes: private}, files.CertificateFile: {Type: "CERTIFICATE", Bytes: der},
	} {
		if err := os.WriteFile(path+".new", pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// shown is the certificate that the listener shows for a name.
func (r *rig) shown(name string) *x509.Certificate {
	r.t.Helper()
	c, err := tls.Dial("tcp", r.route.Listen, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		r.t.Fatalf("handshake for %q: %v", name, err)
	}
	defer func() { _ = c.Close() }()
	return c.ConnectionState().PeerCertificates[0]
}

func TestTLS(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	dir := t.TempDir()
	files := certify(t, dir, "shop", 1, "shop.example")
	r.route.TLS = &files
	r.apply(pool(1, backend(t, func(w http.ResponseWriter, req *http.Request) {
		_, _ = fmt.Fprint(w, req.Header.Get("X-Forwarded-Proto"))
	})))
	for _, h2 := range []bool{false, true} {
		c := &http.Client{Timeout: patience, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "shop.example"}, ForceAttemptHTTP2: h2,
		}}
		resp, err := c.Get("https://" + r.route.Listen + "/")
		if got := text(t, resp, err); got != "https" || (resp.ProtoMajor == 2) != h2 {
			t.Errorf("HTTP/2 %v: %s %q", h2, resp.Proto, got)
		}
		c.CloseIdleConnections()
	}
	// Sessions are resumed, also after an Apply.
	sessions := &tls.Config{InsecureSkipVerify: true, ServerName: "shop.example", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for _, resumed := range []bool{false, true} {
		c, err := tls.Dial("tcp", r.route.Listen, sessions)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		_, _ = io.Copy(io.Discard, c) // tickets come with the answer
		if got := c.ConnectionState().DidResume; got != resumed {
			t.Errorf("resumed is %v, want %v", got, resumed)
		}
		_ = c.Close()
		r.apply(r.route.Pools...)
	}
	// A certificate that was replaced is shown without a restart.
	certify(t, dir, "shop", 2, "shop.example")
	eventually(t, "the new certificate is shown", func() bool { return r.shown("shop.example").SerialNumber.Int64() == 2 })
	// One that cannot be read leaves the one before.
	if err := os.WriteFile(files.KeyFile, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	<-time.After(1100 * time.Millisecond) // files are looked at once in a second
	if n := r.shown("shop.example").SerialNumber.Int64(); n != 2 {
		t.Errorf("with a broken key, certificate %d is shown", n)
	}
}

func TestTLSWebSocket(t *testing.T) {
	r := newRig(t)
	files := certify(t, t.TempDir(), "shop", 1, "shop.example")
	r.route.TLS = &files
	r.apply(pool(1, echoSocket(t, "blue")))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "wss://"+r.route.Listen, &websocket.DialOptions{HTTPClient: &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	say(t, ws, "blue", strings.Repeat("x", 20000))
	if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	eventually(t, "nothing is in flight", func() bool { return r.endpoint().InFlight == 0 })
}

func TestCertificatesByName(t *testing.T) {
	r := newRig(t)
	dir := t.TempDir()
	for i, host := range []string{"", "a.example", "b.example"} {
		route := r.route
		route.ID, route.Host, route.Generation = "r"+host, host, 1
		files := certify(t, dir, "cert"+host, int64(i), host)
		route.TLS = &files
		if err := r.driver.Apply(t.Context(), route); err != nil {
			t.Fatal(err)
		}
	}
	for name, serial := range map[string]int64{"a.example": 1, "B.example": 2, "other.example": 0, "": 0} {
		if n := r.shown(name).SerialNumber.Int64(); n != serial {
			t.Errorf("%q is shown certificate %d, want %d", name, n, serial)
		}
	}
}

func TestTLSOverTCP(t *testing.T) {
	r := newRig(t)
	files := certify(t, t.TempDir(), "db", 1, "db.example")
	r.route.TLS, r.route.Protocol = &files, sdk.ProtocolTCP
	r.apply(pool(1, rawBackend(t, func(conn net.Conn, in *bufio.Reader) {
		line, _ := in.ReadString('\n')
		_, _ = io.WriteString(conn, "got "+line)
	})))
	c, err := tls.Dial("tcp", r.route.Listen, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "hello\n")
	if got, err := io.ReadAll(c); string(got) != "got hello\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestBadCertificatesAreRefused(t *testing.T) {
	r := newRig(t)
	dir := t.TempDir()
	good, other := certify(t, dir, "a", 1, "a"), certify(t, dir, "b", 2, "b")
	rubbish := filepath.Join(dir, "rubbish")
	if err := os.WriteFile(rubbish, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]sdk.TLS{
		"missing": {CertificateFile: filepath.Join(dir, "none"), KeyFile: good.KeyFile},
		"rubbish": {CertificateFile: rubbish, KeyFile: good.KeyFile},
		"foreign": {CertificateFile: good.CertificateFile, KeyFile: other.KeyFile},
		"half":    {CertificateFile: good.CertificateFile},
	} {
		route := r.route
		route.Generation, route.TLS = 1, &files
		err := r.driver.Apply(t.Context(), route)
		var typed *sdk.Error
		if !errors.As(err, &typed) || typed.Code != sdk.CodeInvalidConfig || typed.Attribute != "tls" {
			t.Errorf("%s: %v", name, err)
		}
		if name == "missing" && !strings.Contains(err.Error(), files.CertificateFile) {
			t.Errorf("the error does not name the file: %v", err)
		}
	}
	if _, err := net.DialTimeout("tcp", r.route.Listen, time.Second); err == nil {
		t.Error("a refused route listens")
	}
}
