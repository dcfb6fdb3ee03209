package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/mesh"
)

// maxBody bounds requests and answers between nodes, in bytes.
const maxBody = 1 << 20

// fault is an error on its way to another node.
type fault struct {
	Code       core.Code     `json:"code"`
	Message    string        `json:"message"`
	Object     string        `json:"object,omitempty"`
	Hint       string        `json:"hint,omitempty"`
	RetryAfter time.Duration `json:"retry_after,omitempty"`
}

// answer writes a value or an error. An error without a code is ours alone.
func (c *Cluster) answer(w http.ResponseWriter, value any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		f := fault{Code: core.CodeInternal, Message: "node " + c.cfg.Node + " failed at this; its log says how"}
		if e, ok := core.AsError(err); ok {
			f = fault{Code: e.Code, Message: err.Error(), Object: e.Object, Hint: e.Hint, RetryAfter: e.RetryAfter}
		} else {
			c.log.Error("a request of another node failed", "error", err)
		}
		w.WriteHeader(http.StatusBadRequest)
		value = f
	}
	_ = json.NewEncoder(w).Encode(value) // whoever asked is gone if this fails
}

// read decodes a request's body.
func read(r *http.Request, into any) error {
	data, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return core.Errorf(core.CodeInvalid, "the request broke off: %w", err)
	}
	if len(data) > maxBody {
		return core.Errorf(core.CodeTooLarge, "the request has over %d bytes", maxBody)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return core.Errorf(core.CodeInvalid, "the request does not decode: %w", err)
	}
	return nil
}

// call sends a request to a URL and decodes the answer.
func call(ctx context.Context, client *http.Client, method, url string, request, into any) error {
	var body io.Reader
	if request != nil {
		data, err := json.Marshal(request)
		if err != nil {
			return fmt.Errorf("%s: %w", url, err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return broken(err)
	}
	defer func() { _ = resp.Body.Close() }() // it has been read
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return broken(err)
	}
	if resp.StatusCode != http.StatusOK {
		var f fault
		if json.Unmarshal(data, &f) != nil || f.Code == "" {
			return core.Errorf(core.CodeUnsupported, "%s answered %s", url, resp.Status)
		}
		return &core.Error{Code: f.Code, Message: f.Message, Object: f.Object, Hint: f.Hint, RetryAfter: f.RetryAfter}
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return core.Errorf(core.CodeInternal, "the answer of %s does not decode: %w", url, err)
	}
	return nil
}

// broken is an exchange that came to no end. What has a code keeps it: the node may be unknown, or refused.
func broken(err error) error {
	if _, typed := core.AsError(err); typed {
		return err
	}
	return core.Errorf(core.CodeUnavailable, "%w", err)
}

// callNode asks another member.
func (c *Cluster) callNode(ctx context.Context, node, method, path string, request, into any) error {
	return call(ctx, c.cfg.Mesh.Client(), method, mesh.URL(node, path), request, into)
}

// perNode bounds one question to one member, while the leader is looked for.
const perNode = 5 * time.Second

// callLeader asks the leader: the one that is known, or whoever of the members turns out to be it.
func (c *Cluster) callLeader(ctx context.Context, path string, request, into any) error {
	known := c.cfg.Raft.Leader()
	nodes := []string{}
	if known != "" && known != c.cfg.Node {
		nodes = append(nodes, known)
	}
	for _, node := range c.cfg.Book.Nodes() {
		if node != known && node != c.cfg.Node {
			nodes = append(nodes, node)
		}
	}
	last := error(core.Errorf(core.CodeUnavailable, "no other member is known here"))
	for _, node := range nodes {
		one, cancel := context.WithTimeout(ctx, perNode)
		err := c.callNode(one, node, http.MethodPost, path, request, into)
		cancel()
		if err == nil || !core.Retryable(err) || ctx.Err() != nil {
			return err
		}
		last = err
	}
	return fmt.Errorf("the leader was not found: %w", last)
}

func (c *Cluster) notLeader() error {
	e := core.Errorf(core.CodeNotLeader, "node %q does not lead", c.cfg.Node)
	e.RetryAfter = 100 * time.Millisecond
	return e
}
