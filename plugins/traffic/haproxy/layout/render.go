package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/instarhq/instar/sdk"
)

// Names of the generated files in the target's directory. HAProxy loads every *.cfg of a directory.
const (
	ConfigFile = "instar.cfg"
	MapFile    = "instar.map"
)

// Settings are what the configuration depends on beside the state.
type Settings struct {
	Directory      string
	Binds          map[string]string // parameters of bind lines, by address
	DualStack      bool              // an address without host means IPv6, too
	Token          string            // makes the names of internal sockets unique on this machine
	ConnectTimeout time.Duration
	HeadTimeout    time.Duration
	IdleTimeout    time.Duration
	TunnelTimeout  time.Duration
	CheckInterval  time.Duration
}

// Options are what a route's own configuration says.
type Options struct {
	ResponseTimeout time.Duration
	RoundRobin      bool
	CheckPath       string // empty: a connection is enough
}

// Rendering is a configuration file.
type Rendering struct {
	Text []byte
	// Marker is the name of a backend that only a configuration of this shape has: what HAProxy has to
	// load anew to change. What is in the slots is not part of the shape.
	Marker string
}

// Render writes the configuration for a state. options has those of each route, by id.
func Render(settings Settings, state State, options func(sdk.Route) Options) Rendering {
	w := writer{settings: settings, options: options, blank: true}
	w.all(state)
	sum := sha256.Sum256([]byte(settings.Directory + "\n" + w.String()))
	marker := shapePrefix + hex.EncodeToString(sum[:8])
	w = writer{settings: settings, options: options}
	w.all(state)
	w.line("")
	w.line("# Tells the driver what has been loaded.")
	w.line("backend %s from instar-http", marker)
	return Rendering{Text: []byte(w.String()), Marker: marker}
}

type writer struct {
	strings.Builder
	settings Settings
	options  func(sdk.Route) Options
	blank    bool // leave out what is in the slots

	plainIdle bool // this HAProxy does not know option idle-close-on-response
}

func (w *writer) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

func (w *writer) all(state State) {
	// An HAProxy that was not seen yet has to be able to begin with what is written; it is reloaded when it was.
	w.plainIdle = state.Version == "" || !knowsIdleClose(state.Version)
	w.line("# Written by instar's haproxy driver; changes are overwritten. See `instar driver docs haproxy`.")
	w.defaults()
	byListener := make(map[string][]*Route)
	for _, r := range state.Ordered() {
		byListener[r.Spec.Listen] = append(byListener[r.Spec.Listen], r)
	}
	for _, address := range slices.Sorted(maps.Keys(byListener)) {
		w.frontend(address, byListener[address])
	}
	for _, r := range state.Ordered() {
		for i := range r.Backends {
			w.backend(r, i)
		}
	}
}

func milliseconds(d time.Duration) int64 { return max(1, d.Milliseconds()) }

func (w *writer) defaults() {
	s := w.settings
	for _, mode := range []string{"http", "tcp"} {
		w.line("\ndefaults instar-%s", mode)
		w.line("    mode %s", mode)
		w.line("    timeout connect %dms", milliseconds(s.ConnectTimeout))
		w.line("    timeout check %dms", milliseconds(s.ConnectTimeout))
		if mode == "http" {
			w.line("    timeout http-request %dms", milliseconds(s.HeadTimeout))
			w.line("    timeout http-keep-alive %dms", milliseconds(s.IdleTimeout))
			w.line("    timeout client %dms", milliseconds(s.IdleTimeout))
			w.line("    timeout server %dms", milliseconds(s.IdleTimeout))
			w.line("    timeout tunnel %dms", milliseconds(s.TunnelTimeout))
			if !w.plainIdle {
				w.line("    # Without this, a reload closes idle connections, and a request that is just coming in on one is lost.")
				w.line("    option idle-close-on-response")
			}
		} else {
			w.line("    timeout client %dms", milliseconds(s.TunnelTimeout))
			w.line("    timeout server %dms", milliseconds(s.TunnelTimeout))
		}
		w.line("    retries 3")
		w.line("    option redispatch 1")
	}
}

// bind writes where a frontend listens: at its address, and where a process that a reload has replaced hands
// the requests that it still gets.
func (w *writer) bind(address string) {
	at := address
	if strings.HasPrefix(address, ":") {
		if at = "*" + address; w.settings.DualStack {
			at = "[::]" + address + " v4v6"
		}
	}
	w.line("    bind %s", strings.TrimSpace(at+" "+w.settings.Binds[address]))
	w.line("    bind %s accept-proxy", w.inner(address))
}

// inner is an address of the loopback network that is this listener's own, with the listener's port. It is no
// abstract socket, though that would seem the natural choice: HAProxy 2.6 cannot pause one, and ends itself if
// a reload fails for an address that is in use.
func (w *writer) inner(address string) string {
	sum := sha256.Sum256([]byte(w.settings.Token + " " + address))
	port := address[strings.LastIndexByte(address, ':')+1:]
	return fmt.Sprintf("127.%d.%d.%d:%s", 1+sum[0]%254, sum[1], 1+sum[2]%254, port)
}

func (w *writer) frontend(address string, routes []*Route) {
	name := Listener(address)
	if routes[0].Spec.Protocol == sdk.ProtocolTCP {
		w.line("\nfrontend %s from instar-tcp", name)
		w.bind(address)
		w.tcpRules(name, routes[0])
	} else {
		w.line("\nfrontend %s from instar-http", name)
		w.bind(address)
		w.httpRules(name, address, slices.ContainsFunc(routes, func(r *Route) bool { return r.Spec.Path != "" }))
	}
	w.line("    use_backend %%[var(txn.instar_to)]")
	w.line("\nbackend %s-next from instar-%s", name, routes[0].Spec.Protocol)
	w.line("    server next %s send-proxy-v2", w.inner(address))
}

// httpRules sends a request to where the map says. Each decision is one look into the map, so that no
// request sees a half of the map before a change and a half of the map after it.
func (w *writer) httpRules(name, address string, paths bool) {
	file := filepath.Join(w.settings.Directory, MapFile)
	rule := func(format string, args ...any) { w.line("    http-request "+format, args...) }
	const open, unrouted = "unless { var(txn.instar_to) -m found }", "unless { var(txn.instar_to) -m found } || { var(txn.instar_route) -m found }"
	rule("set-var(txn.instar_to) str(%s-next) if { stopping }", name)
	if paths {
		rule("return status 400 content-type text/plain string \"The path has dot segments.\\n\" if { path,url_dec,concat(/) -m sub /../ /./ } !{ var(txn.instar_to) -m found }")
		rule("set-var(txn.instar_path) path,url_dec,concat(/) %s", open)
	} else {
		rule("set-var(txn.instar_path) str(/) %s", open)
	}
	rule(`set-var(txn.instar_host) 'req.hdr(host),lower,regsub("[.]?(:[0-9]*)?$","")' %s`, open)
	rule("set-var(txn.instar_route) str(@%s/),concat(,txn.instar_host),concat(,txn.instar_path),map_beg(%s) %s", address, file, open)
	rule("set-var(txn.instar_route) str(@%s/*),concat(,txn.instar_path),map_beg(%s) %s", address, file, unrouted)
	rule("return status 404 content-type text/plain string \"No route.\\n\" %s", unrouted)
	rule("set-var(txn.instar_preview) req.hdr(%s) %s", sdk.PreviewHeader, open)
	rule("set-var(txn.instar_to) var(txn.instar_route),concat(/preview-,txn.instar_preview),map_str(%s) if { var(txn.instar_preview) -m found }", file)
	rule("return status 404 content-type text/plain string \"No such preview.\\n\" if { var(txn.instar_preview) -m found } !{ var(txn.instar_to) -m found }")
	rule("set-var(txn.instar_draw) rand(%d),add(%d) %s", parts, parts, open)
	rule("set-var(txn.instar_to) var(txn.instar_route),concat(/,txn.instar_draw),map_beg(%s) %s", file, open)
	rule("return status 503 content-type text/plain string \"No instance.\\n\" %s", open)
}

func (w *writer) tcpRules(name string, r *Route) {
	file := filepath.Join(w.settings.Directory, MapFile)
	rule := func(format string, args ...any) { w.line("    tcp-request content "+format, args...) }
	const open = "unless { var(txn.instar_to) -m found }"
	rule("set-var(txn.instar_to) str(%s-next) if { stopping }", name)
	rule("set-var(txn.instar_draw) rand(%d),add(%d) %s", parts, parts, open)
	rule("set-var(txn.instar_to) str(%s/),concat(,txn.instar_draw),map_beg(%s) %s", r.Name, file, open)
	rule("reject %s", open)
}

// tableSize bounds the memory for latencies: entries for each server that is prepared, within limits.
func tableSize(slots int) int { return min(200*slots, 100_000) }

func (w *writer) backend(r *Route, index int) {
	b, spec := &r.Backends[index], r.Spec
	if b.Config != nil {
		spec.Config = b.Config
	}
	options := w.options(spec)
	w.line("\nbackend %s from instar-%s", r.BackendName(index), r.Spec.Protocol)
	// The other algorithm can have 4095 servers.
	if options.RoundRobin && len(b.Slots) < 4096 {
		w.line("    balance roundrobin")
	} else {
		w.line("    balance leastconn")
	}
	if r.Spec.Protocol == sdk.ProtocolHTTP {
		w.line("    timeout server %dms", milliseconds(options.ResponseTimeout))
		w.line("    option forwardfor")
		w.line("    http-request set-header X-Forwarded-Proto %s", w.scheme(r.Spec.Listen))
		w.line("    http-request del-header %s", sdk.PreviewHeader)
		w.latency(len(b.Slots))
	}
	if options.CheckPath != "" {
		w.line("    option httpchk")
		w.line("    http-check send meth GET uri %s ver HTTP/1.1 hdr Host %s", options.CheckPath, checkHost(r.Spec))
		w.line("    http-check expect status 200-399")
	}
	// Checks of thousands of servers must not become the load.
	interval := milliseconds(max(w.settings.CheckInterval, time.Duration(len(b.Slots))*time.Millisecond))
	// Ports that Docker publishes refuse connections for some 200 ms while dockerd starts, all of them at the same time.
	// Servers that were down after that would stay so until their next check, so it takes longer: four checks in a
	// row, three quarters of an interval.
	w.line("    default-server check inter %dms fastinter %dms downinter %dms rise 1 fall 4", interval, max(interval/4, 1), interval)
	for j := range b.Slots {
		w.server(SlotName(j), &b.Slots[j])
	}
}

// scheme is what clients of a listener speak, by the parameters of its bind line.
func (w *writer) scheme(address string) string {
	if slices.Contains(strings.Fields(w.settings.Binds[address]), "ssl") {
		return "https"
	}
	return "http"
}

func checkHost(r sdk.Route) string {
	if r.Host == "" {
		return "instar"
	}
	return r.Host
}

// server writes a slot. One whose endpoint no check has found well yet begins switched off.
func (w *writer) server(name string, s *Slot) {
	switch {
	case w.blank, !s.Serving():
		w.line("    server %s 127.0.0.1:1 disabled", name)
	case !s.Checked:
		w.line("    server %s %s disabled", name, s.Address)
	default:
		w.line("    server %s %s", name, s.Address)
	}
}

// latency counts answers by server and time in the backend's own table: a histogram of the last minute with
// two digits. Bucket is the number of the time in it: see Bounds.
func (w *writer) latency(slots int) {
	w.line("    stick-table type integer size %d expire 2m store gpc0,gpc0_rate(60s)", tableSize(slots))
	w.line("    http-request set-var(txn.instar_begin) date(0,us)")
	w.line("    http-response set-var(txn.instar_us) date(0,us),sub(txn.instar_begin)")
	limit, divisor := 100, 1
	for class := range classes {
		condition := fmt.Sprintf(" if { var(txn.instar_us) -m int lt %d } !{ var(txn.instar_key) -m found }", limit)
		if class == classes-1 {
			condition = " unless { var(txn.instar_key) -m found }"
		}
		w.line("    http-response set-var(txn.instar_key) var(txn.instar_us),div(%d),add(%d)%s", divisor, class*100, condition)
		limit, divisor = limit*10, divisor*10
	}
	w.line("    http-response set-var(txn.instar_key) srv_id,mul(%d),add(txn.instar_key)", keysOfServer)
	w.line("    http-response track-sc0 var(txn.instar_key)")
	w.line("    http-response sc-inc-gpc0(0)")
}
