package daemon

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/mesh"
	"github.com/instarhq/instar/core/state"
)

// What members ask of each other's daemons over instar-rpc/1.
const (
	apiPrefix = "/api"            // the API, for requests that another member passes on
	logsPath  = "/instances/logs" // output of an instance of this node
)

// forwarding makes every member answer for the cluster.
func (d *Daemon) forwarding() *api.Forwarding {
	return &api.Forwarding{
		Node: d.cfg.Node, Leader: d.leader, Send: d.countedPassOn, Current: d.current,
		Seq: func() uint64 { return d.state.View().Seq() }, Applied: d.state.Wait,
	}
}

// leader is the leader's name as far as this node knows; it is this node's only once it takes writes.
func (d *Daemon) leader() string {
	leader := d.store.Leader()
	if leader == d.cfg.Node && !d.store.IsLeader() {
		return ""
	}
	return leader
}

// passOn sends a request to another member as it is, and vouches for its caller.
func (d *Daemon) passOn(node string, r *http.Request) (*http.Response, error) {
	target := mesh.URL(node, apiPrefix+r.URL.EscapedPath())
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	out, err := http.NewRequestWithContext(r.Context(), r.Method, target, r.Body)
	if err != nil {
		return nil, err
	}
	out.Header = r.Header.Clone()
	if err := identity.Vouch(out.Header, identity.CallerOf(r.Context())); err != nil {
		return nil, err
	}
	return d.member.mesh.Client().Do(out)
}

// serveOthers answers what other members pass on.
func (d *Daemon) serveOthers(handler http.Handler) {
	d.member.mesh.Handle(apiPrefix+"/", http.StripPrefix(apiPrefix, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, _ := mesh.PeerOf(r.Context())
		role := core.RoleWorker
		if m, there := state.Members.Get(d.state.View(), peer.Node); there && m.State != core.MemberRemoved {
			role = m.Role
		}
		ctx, err := identity.Vouched(r.Context(), r.Header, peer.Node, role)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		handler.ServeHTTP(w, r.WithContext(ctx))
	})))
	own := &logs{node: d.cfg.Node, state: d.state, host: d.host}
	d.member.mesh.HandleFunc("GET "+logsPath, func(w http.ResponseWriter, r *http.Request) { serveLogs(w, r, own) })
}

// logsEnd is the last line of a stream of lines: that it has ended, and why.
type logsEnd struct {
	End     bool      `json:"end"`
	Code    core.Code `json:"code,omitempty"`
	Message string    `json:"message,omitempty"`
	Hint    string    `json:"hint,omitempty"`
}

// serveLogs streams an instance's lines to another member, and then how it ended.
func serveLogs(w http.ResponseWriter, r *http.Request, own *logs) {
	query := r.URL.Query()
	follow, _ := strconv.ParseBool(query.Get("follow"))
	tail, _ := strconv.Atoi(query.Get("tail"))
	encoder := json.NewEncoder(w)
	err := own.Logs(r.Context(), query.Get("instance"), follow, tail, func(line core.LogLine) error {
		if err := encoder.Encode(line); err != nil {
			return err
		}
		return http.NewResponseController(w).Flush()
	})
	end := logsEnd{End: true}
	if err != nil {
		end.Code, end.Message = core.CodeOf(err), err.Error()
		if e, ok := core.AsError(err); ok {
			end.Hint = e.Hint
		}
	}
	_ = encoder.Encode(end) // whoever asked is gone if this fails
}

// remoteLogs reads an instance's output on its node.
func (l *logs) remote(ctx context.Context, inst core.Instance, id string, follow bool, tail int, line func(core.LogLine) error) error {
	query := url.Values{"instance": {id}, "follow": {strconv.FormatBool(follow)}, "tail": {strconv.Itoa(tail)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, mesh.URL(inst.Node, logsPath+"?"+query.Encode()), nil)
	if err != nil {
		return err
	}
	resp, err := l.mesh.Client().Do(req)
	if err != nil {
		return core.Errorf(core.CodeUnavailable, "the output of %q is on node %q: %w", id, inst.Node, err).WithObject(core.KindInstance, id)
	}
	defer func() { _ = resp.Body.Close() }() // a stream's end is seen by reading it
	for decoder := json.NewDecoder(resp.Body); ; {
		var next struct {
			core.LogLine
			logsEnd
		}
		if err := decoder.Decode(&next); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return core.Errorf(core.CodeUnavailable, "the output of %q broke off on node %q: %w", id, inst.Node, err)
		}
		if next.End {
			if next.Code == "" {
				return nil
			}
			return &core.Error{Code: next.Code, Message: next.Message, Hint: next.Hint}
		}
		if err := line(next.LogLine); err != nil {
			return err
		}
	}
}
