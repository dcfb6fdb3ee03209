package proxy

import (
	"strings"

	"github.com/instarhq/instar/plugins/traffic/proxy/http1"
	"github.com/instarhq/instar/plugins/traffic/proxy/route"
	"github.com/instarhq/instar/sdk"
)

// validate checks a route by itself and brings host and path into the form that Table compares.
func validate(r sdk.Route) (route.Match, error) {
	m := route.Match{}
	if r.ID == "" {
		return m, sdk.InvalidConfig("id", "a route needs an id")
	}
	if r.Generation == 0 {
		return m, sdk.InvalidConfig("generation", "generations begin with 1")
	}
	if err := sdk.CheckAddress(r.Listen); err != nil {
		return m, sdk.InvalidConfig("listen", "%q is no address such as :8080 or 127.0.0.1:8080: %w", r.Listen, err)
	}
	if r.TLS != nil && (r.TLS.CertificateFile == "" || r.TLS.KeyFile == "") {
		return m, sdk.InvalidConfig("tls", "certificate_file and key_file are both needed")
	}
	if err := sdk.CheckPools(r.Pools); err != nil {
		return m, err
	}
	switch r.Protocol {
	case sdk.ProtocolTCP:
		if r.Host != "" || r.Path != "" {
			return m, sdk.InvalidConfig("protocol", "a tcp route has neither host nor path: it owns its listener")
		}
		return m, nil
	case sdk.ProtocolHTTP:
		return validateMatch(r)
	}
	return m, sdk.InvalidConfig("protocol", "%q is neither http nor tcp", r.Protocol)
}

func validateMatch(r sdk.Route) (m route.Match, err error) {
	m.Host = strings.TrimSuffix(strings.ToLower(r.Host), ".")
	literal := strings.HasPrefix(m.Host, "[") && strings.HasSuffix(m.Host, "]")
	if !http1.ValidHost([]byte(m.Host)) || strings.Contains(m.Host, ":") && !literal || strings.Contains(m.Host, "*") {
		return m, sdk.InvalidConfig("host", "%q is no host name; write it without a port", r.Host)
	}
	if r.Path != "" && (r.Path[0] != '/' || !http1.ValidTarget([]byte(r.Path)) || strings.ContainsAny(r.Path, "?%")) {
		return m, sdk.InvalidConfig("path", "%q is no path prefix: it begins with / and is written without %% escapes", r.Path)
	}
	m.Path = strings.TrimRight(r.Path, "/")
	return m, nil
}
