package docker_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/instarhq/instar/plugins/compute/docker"
	"github.com/instarhq/instar/sdk"
)

// authority makes certificates in a directory.
type authority struct {
	*testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{T: t, dir: t.TempDir()}
	a.cert, a.key = a.make(name, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name+".pem") }

// make makes NAME.pem and NAME-key.pem.
func (a *authority) make(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	c.KeyUsage |= x509.KeyUsageDigitalSignature
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name: {Type: "CERTIFICATE", Bytes: der}, name + "-key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(a.file(file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.Fatal(err)
		}
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		a.Fatal(err)
	}
	return made, key
}

func tlsTarget(e string, ca, cert, key string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"endpoint": %q, "tls_ca": %q, "tls_cert": %q, "tls_key": %q}`, e, ca, cert, key))
}

// TestTLSEndpoint reaches an engine over TCP, as one on another machine: mounts are copied into containers.
func TestTLSEndpoint(t *testing.T) {
	t.Parallel()
	e := startEngine(t)
	if err := e.Terminate(); err != nil {
		t.Fatal(err)
	}
	a, stranger := newAuthority(t, "ca"), newAuthority(t, "ca")
	a.make("engine", &x509.Certificate{IPAddresses: []net.IP{net.ParseIP(e.Address)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	for _, by := range []*authority{a, stranger} {
		by.make("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	}
	address := "tcp://" + e.Address + ":2376"
	if err := e.Run(t.Context(), "--host", address, "--tlsverify", "--tlscacert", a.file("ca"),
		"--tlscert", a.file("engine"), "--tlskey", a.file("engine-key")); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, e, "")
	r.shut()
	r.req.Config = tlsTarget(address, a.file("ca"), a.file("client"), a.file("client-key"))
	r.open()
	spec := r.spec(`{"command": ["sh", "-c", "cat /etc/made/here/site.conf; echo; trap 'exit 0' TERM; sleep 3600 & wait"], "user": "web"}`)
	spec.Mounts = []sdk.Mount{{Path: "etc/made/here/site.conf", Data: []byte("copied")}, {Path: "etc/passwd", Data: []byte("web:x:1000:1000::/:/bin/sh\n")}}
	first := r.create(spec)
	r.printed(spec.ID, "copied")
	if i := r.inspect(spec.ID); i.Fingerprint != first.Fingerprint {
		t.Error("the fingerprint is not stable")
	}
	r.exec(spec.ID, "sh", "-c", "id") // a look, which changes nothing
	if i := r.inspect(spec.ID); i.Fingerprint != first.Fingerprint {
		t.Error("the fingerprint changed although nothing was changed")
	}
	spec = r.spec(`{"read_only": true}`)
	spec.Mounts = []sdk.Mount{{Path: "etc/site.conf"}}
	_, err := r.driver.Create(t.Context(), spec)
	wantCode(t, err, sdk.CodeInvalidConfig)

	r.shut()
	r.req.Config = tlsTarget(address, a.file("ca"), stranger.file("client"), stranger.file("client-key"))
	r.open()
	_, err = r.driver.List(t.Context(), r.req.Cluster)
	wantCode(t, err, sdk.CodeUnavailable)
	r.shut()
	r.req.Config = tlsTarget(address, stranger.file("ca"), a.file("client"), a.file("client-key"))
	r.open()
	_, err = r.driver.List(t.Context(), r.req.Cluster)
	wantCode(t, err, sdk.CodeUnavailable)
	r.shut()
	r.req.Config = tlsTarget(address, a.file("ca"), a.file("client"), a.file("client-key"))
	r.open()
}

func TestConfigureRefuses(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "ca")
	a.make("client", &x509.Certificate{})
	good := func(more string) string {
		return fmt.Sprintf(`{"endpoint": "tcp://192.0.2.1:2376", "tls_ca": %q, "tls_cert": %q, "tls_key": %q%s}`, a.file("ca"), a.file("client"), a.file("client-key"), more)
	}
	for config, attribute := range map[string]string{
		`{"endpoint": "http://127.0.0.1:2375"}`:   "endpoint",
		`{"endpoint": "ssh://host"}`:              "endpoint",
		`{"endpoint": "unix://docker.sock"}`:      "endpoint",
		`{"endpoint": "tcp://192.0.2.1"}`:         "endpoint",
		`{"tls_ca": "/ca.pem"}`:                   "endpoint",
		`{"address": "0.0.0.0"}`:                  "address",
		`{"address": "localhost"}`:                "address",
		`{"port_range": "2000"}`:                  "",
		`{"port_range": "3000-2000"}`:             "port_range",
		`{"port_range": "1-70000"}`:               "port_range",
		`{"port_range": "0-10"}`:                  "port_range",
		`{"mounts": "nfs"}`:                       "mounts",
		`{"registry_config": "config.json"}`:      "registry_config",
		`{"allowed_capabilities": ["SYS ADMIN"]}`: "allowed_capabilities",
		`{"log_options": {"a": "b"}}`:             "log_options",
		good(``):                                  "",
		`{"endpoint": "tcp://engine.example:2376", "tls_ca": "/no/such/file", "tls_cert": "/x", "tls_key": "/x"}`: "tls_ca",
	} {
		d := docker.New()
		err := d.Configure(t.Context(), sdk.ConfigureRequest{Target: "t", Node: "n", Cluster: "c", StateDir: t.TempDir(), Config: json.RawMessage(config)})
		if attribute == "" {
			if err != nil {
				t.Errorf("%s is refused: %v", config, err)
			} else if err := d.Close(t.Context()); err != nil {
				t.Error(err)
			}
			continue
		}
		wantCode(t, err, sdk.CodeInvalidConfig)
		if at := attributeOf(err); at != attribute {
			t.Errorf("%s: the error %v is about %q, want %q", config, err, at, attribute)
		}
	}
}
