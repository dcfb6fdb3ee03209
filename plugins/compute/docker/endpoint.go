package docker

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/moby/moby/client"

	"github.com/instarhq/instar/sdk"
)

// endpoint is a checked way to an engine.
type endpoint struct {
	url     string
	files   tlsFiles
	address netip.Addr // that ports are published on
	bind    bool       // mounts are files of this machine
}

// tlsFiles are read again for every client, so that renewed certificates are taken into use.
type tlsFiles struct{ ca, certificate, key string }

// check checks what can be checked without the engine.
func (c targetConfig) check() (endpoint, error) {
	e := endpoint{url: c.Endpoint, address: c.Address.Addr, files: tlsFiles{c.CA, c.Certificate, c.Key}}
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return e, sdk.InvalidConfig("endpoint", "%w", err)
	}
	switch u.Scheme {
	case "unix":
		err = e.checkSocket(u)
	case "tcp":
		err = e.checkTLS(u)
	default:
		err = sdk.InvalidConfig("endpoint", "%q is neither unix:///PATH nor tcp://HOST:PORT", c.Endpoint)
	}
	if err != nil {
		return e, err
	}
	if c.Mounts != mountsAuto {
		e.bind = c.Mounts == mountsBind
	}
	if c.RegistryConfig != "" && !filepath.IsAbs(c.RegistryConfig) {
		return e, sdk.InvalidConfig("registry_config", "%q is not an absolute path", c.RegistryConfig)
	}
	if len(c.LogOptions) > 0 && c.LogDriver == "" {
		return e, sdk.InvalidConfig("log_options", "they belong to a log_driver, and none is named")
	}
	return e, nil
}

func (e *endpoint) checkSocket(u *url.URL) error {
	if u.Host != "" || !filepath.IsAbs(u.Path) {
		return sdk.InvalidConfig("endpoint", "%q has no absolute path: write unix:///var/run/docker.sock", e.url)
	}
	if e.files != (tlsFiles{}) {
		return sdk.InvalidConfig("endpoint", "tls_ca, tls_cert and tls_key are for tcp:// endpoints, and this is %s", e.url)
	}
	if !e.address.IsValid() {
		e.address = netip.MustParseAddr(loopback)
	}
	e.bind = true
	return nil
}

func (e *endpoint) checkTLS(u *url.URL) error {
	host, _, err := net.SplitHostPort(u.Host)
	if err != nil || host == "" {
		return sdk.InvalidConfig("endpoint", "%q has no host and port: write tcp://HOST:2376", e.url)
	}
	// Whoever reaches an engine's API is root on its machine: there is no way without certificates.
	for attribute, file := range map[string]string{"tls_ca": e.files.ca, "tls_cert": e.files.certificate, "tls_key": e.files.key} {
		if !filepath.IsAbs(file) {
			return sdk.InvalidConfig(attribute, "%s needs the absolute path of a file, not %q", e.url, file)
		}
	}
	if _, err := e.files.config(); err != nil {
		return err
	}
	if e.address.IsValid() {
		return nil
	}
	if e.address, err = netip.ParseAddr(host); err != nil {
		return sdk.InvalidConfig("address", "the endpoint's host %q is no IP address; name the one that ports are published on", host)
	}
	return nil
}

// config reads the files.
func (f tlsFiles) config() (*tls.Config, error) {
	pem, err := os.ReadFile(f.ca)
	if err != nil {
		return nil, sdk.InvalidConfig("tls_ca", "%w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, sdk.InvalidConfig("tls_ca", "%s holds no certificate in PEM", f.ca)
	}
	pair, err := tls.LoadX509KeyPair(f.certificate, f.key)
	if err != nil {
		return nil, sdk.InvalidConfig("tls_cert", "with tls_key: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}}, nil
}

// connections is how many idle connections to an engine are kept: as many as calls go on at a time.
const connections = 32

// dial makes a client. It does not connect yet.
func (e *endpoint) dial() (*client.Client, error) {
	transport := &http.Transport{
		MaxIdleConns: connections, MaxIdleConnsPerHost: connections, IdleConnTimeout: 30 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second,
	}
	scheme := "http" // which the client cannot see from a transport that it has copied
	if e.files != (tlsFiles{}) {
		config, err := e.files.config()
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig, scheme = config, "https"
	}
	options := []client.Opt{
		client.WithHTTPClient(&http.Client{Transport: transport, CheckRedirect: client.CheckRedirect}),
		client.WithHost(e.url), client.WithScheme(scheme), client.WithUserAgent("instar-compute-docker/" + version),
	}
	c, err := client.New(options...)
	if err != nil {
		return nil, sdk.InvalidConfig("endpoint", "%w", err)
	}
	return c, nil
}

// same reports whether two configurations lead to the same engine in the same way.
func (e *endpoint) same(other endpoint) bool { return e.url == other.url && e.files == other.files }

// allows reports whether a service may choose the network.
func (c targetConfig) allows(name string) bool {
	if c.AllowedNetworks == nil {
		return name != networkHost
	}
	return slices.Contains(c.AllowedNetworks, name)
}

// grants reports whether a service may add the capability.
func (c targetConfig) grants(name capability) bool {
	return engineCapabilities[name] || slices.Contains(c.AllowedCapabilities, name)
}
