package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/instarhq/instar/core"
)

// Plan asks what applying set would change.
func (c *Client) Plan(ctx context.Context, set core.Set) (core.Plan, error) {
	var out core.Plan
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/plan", body: map[string]any{"set": set}}, &out)
	return out, err
}

// Apply declares services. expect maps services to the Seq that a plan was made against; nil: no check.
func (c *Client) Apply(ctx context.Context, w Write, set core.Set, expect map[string]uint64) (core.Applied, error) {
	body := map[string]any{"set": set}
	if expect != nil {
		body["expect"] = expect
	}
	return c.write(ctx, http.MethodPost, "/v1/apply", w, body)
}

// Rollback takes a service back to a revision; 0: the one before.
func (c *Client) Rollback(ctx context.Context, w Write, service string, to int) (core.Applied, error) {
	return c.write(ctx, http.MethodPost, "/v1/services/"+url.PathEscape(service)+"/rollback", w, map[string]any{"to": to})
}

// Scale changes the number of instances.
func (c *Client) Scale(ctx context.Context, w Write, service string, count int) (core.Applied, error) {
	return c.write(ctx, http.MethodPost, "/v1/services/"+url.PathEscape(service)+"/scale", w, map[string]any{"count": count})
}

// DeleteService drains and removes a service.
func (c *Client) DeleteService(ctx context.Context, w Write, service string) (core.Applied, error) {
	return c.write(ctx, http.MethodDelete, "/v1/services/"+url.PathEscape(service), w, nil)
}

// Abort ends a rollout, named "service/number".
func (c *Client) Abort(ctx context.Context, w Write, rollout string) (core.Applied, error) {
	return c.write(ctx, http.MethodPost, "/v1/rollouts/"+rollout+"/abort", w, nil)
}

// ReplaceInstance replaces an instance by a new one of its revision.
func (c *Client) ReplaceInstance(ctx context.Context, w Write, instance string) (core.Applied, error) {
	return c.write(ctx, http.MethodPost, "/v1/instances/"+url.PathEscape(instance)+"/replace", w, nil)
}

func (c *Client) write(ctx context.Context, method, path string, w Write, body any) (core.Applied, error) {
	var out core.Applied
	err := c.do(ctx, call{method: method, path: path, body: body, write: &w}, &out)
	return out, err
}

// Status reads the cluster in one screen.
func (c *Client) Status(ctx context.Context) (core.Status, error) {
	return get[core.Status](ctx, c, "/v1/status", nil)
}

// Health is what a node says of itself.
type Health struct {
	Live    bool   `json:"live"`
	Ready   bool   `json:"ready"`
	Node    string `json:"node"`
	Version string `json:"version"`
	Leader  string `json:"leader,omitempty"`
	Seq     uint64 `json:"seq"`
	Waiting string `json:"waiting,omitempty"` // why it is not ready
}

// Health asks a node whether it works.
func (c *Client) Health(ctx context.Context) (Health, error) {
	return get[Health](ctx, c, "/v1/health", nil)
}

// List bounds and filters a list. Zero values mean: the first page of the server's default size, as of
// now, everything.
type List struct {
	Limit    int
	Cursor   string
	Service  string
	Node     string
	Revision int
	Active   bool
}

func (l List) query() url.Values {
	q := url.Values{}
	set := func(key, value string, on bool) {
		if on {
			q.Set(key, value)
		}
	}
	set("limit", strconv.Itoa(l.Limit), l.Limit > 0)
	set("cursor", l.Cursor, l.Cursor != "")
	set("service", l.Service, l.Service != "")
	set("node", l.Node, l.Node != "")
	set("revision", strconv.Itoa(l.Revision), l.Revision > 0)
	set("active", "true", l.Active)
	return q
}

// Services lists services.
func (c *Client) Services(ctx context.Context, l List) (core.Page[core.ServiceView], error) {
	return get[core.Page[core.ServiceView]](ctx, c, "/v1/services", l.query())
}

// Service reads one service, as of a sequence number (0: now; older ones without instances and rollout).
func (c *Client) Service(ctx context.Context, name string, at uint64) (core.ServiceView, error) {
	return get[core.ServiceView](ctx, c, "/v1/services/"+url.PathEscape(name), atQuery(at))
}

// Revisions lists a service's revisions, newest first.
func (c *Client) Revisions(ctx context.Context, service string) (core.Page[core.Revision], error) {
	return get[core.Page[core.Revision]](ctx, c, "/v1/services/"+url.PathEscape(service)+"/revisions", nil)
}

// Revision reads one revision.
func (c *Client) Revision(ctx context.Context, service string, number int) (core.Revision, error) {
	return get[core.Revision](ctx, c, "/v1/services/"+url.PathEscape(service)+"/revisions/"+strconv.Itoa(number), nil)
}

// Diff is the difference of two revisions.
type Diff struct {
	Service string      `json:"service"`
	From    int         `json:"from"`
	To      int         `json:"to"`
	Changes []core.Diff `json:"changes"`
}

// Diff compares two revisions; 0 means the wanted one for to, and the one before to for from.
func (c *Client) Diff(ctx context.Context, service string, from, to int) (Diff, error) {
	q := url.Values{"from": {strconv.Itoa(from)}, "to": {strconv.Itoa(to)}}
	return get[Diff](ctx, c, "/v1/services/"+url.PathEscape(service)+"/diff", q)
}

// Rollouts lists rollouts, ordered by id.
func (c *Client) Rollouts(ctx context.Context, l List) (core.Page[core.RolloutView], error) {
	return get[core.Page[core.RolloutView]](ctx, c, "/v1/rollouts", l.query())
}

// Rollout reads one rollout, named "service/number".
func (c *Client) Rollout(ctx context.Context, id string) (core.RolloutView, error) {
	return get[core.RolloutView](ctx, c, "/v1/rollouts/"+id, nil)
}

// Instances lists instances.
func (c *Client) Instances(ctx context.Context, l List) (core.Page[core.InstanceView], error) {
	return get[core.Page[core.InstanceView]](ctx, c, "/v1/instances", l.query())
}

// Instance reads one instance, as of a sequence number (0: now).
func (c *Client) Instance(ctx context.Context, id string, at uint64) (core.InstanceView, error) {
	return get[core.InstanceView](ctx, c, "/v1/instances/"+url.PathEscape(id), atQuery(at))
}

// Routes lists routes.
func (c *Client) Routes(ctx context.Context, l List) (core.Page[core.RouteView], error) {
	return get[core.Page[core.RouteView]](ctx, c, "/v1/routes", l.query())
}

// Route reads one route.
func (c *Client) Route(ctx context.Context, name string) (core.RouteView, error) {
	return get[core.RouteView](ctx, c, "/v1/routes/"+url.PathEscape(name), nil)
}

// Nodes lists nodes.
func (c *Client) Nodes(ctx context.Context, l List) (core.Page[core.Node], error) {
	return get[core.Page[core.Node]](ctx, c, "/v1/nodes", l.query())
}

// Drivers lists published drivers.
func (c *Client) Drivers(ctx context.Context, l List) (core.Page[core.DriverView], error) {
	return get[core.Page[core.DriverView]](ctx, c, "/v1/drivers", l.query())
}

// Config reads one config object by its id, "name@sha256:…".
func (c *Client) Config(ctx context.Context, id string) (core.Config, error) {
	return get[core.Config](ctx, c, "/v1/configs/"+url.PathEscape(id), nil)
}

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	var out T
	err := c.do(ctx, call{method: http.MethodGet, path: path, query: query}, &out)
	return out, err
}

func atQuery(at uint64) url.Values {
	if at == 0 {
		return nil
	}
	return url.Values{"at": {strconv.FormatUint(at, 10)}}
}
