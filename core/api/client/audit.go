package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
)

// Records filters the audit log; zero values do not filter.
type Records struct {
	Limit        int
	Before       uint64 // only records before this one; 0: from the newest
	Principal    string
	Verb         string // a verb, or its beginning up to a dot
	Object       string // "kind/id" or "kind"
	Since, Until time.Time
}

// Records lists records, newest first. Next of the page is the Before of the following one.
func (c *Client) Records(ctx context.Context, f Records) (core.Page[core.Record], error) {
	q := url.Values{}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	if f.Before > 0 {
		q.Set("before", strconv.FormatUint(f.Before, 10))
	}
	for key, value := range map[string]string{"principal": f.Principal, "verb": f.Verb, "object": f.Object} {
		if value != "" {
			q.Set(key, value)
		}
	}
	for key, value := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !value.IsZero() {
			q.Set(key, value.UTC().Format(time.RFC3339Nano))
		}
	}
	return get[core.Page[core.Record]](ctx, c, "/v1/audit/records", q)
}

// Record is one record with its bytes.
type Record struct {
	core.Record
	Raw []byte `json:"raw"`
}

// Record reads one record.
func (c *Client) Record(ctx context.Context, seq uint64) (Record, error) {
	return get[Record](ctx, c, "/v1/audit/records/"+strconv.FormatUint(seq, 10), nil)
}

// Prove asks for the proof that a record is in the log; it verifies without the cluster.
func (c *Client) Prove(ctx context.Context, seq uint64) (audit.Proof, error) {
	return get[audit.Proof](ctx, c, "/v1/audit/records/"+strconv.FormatUint(seq, 10)+"/proof", nil)
}

// Consistency is a consistency proof with the tree head that it leads to.
type Consistency struct {
	Head   core.TreeHead `json:"head"`
	Hashes []core.Hash   `json:"hashes"`
}

// ConsistencyProof proves that the tree of size second (0: the present one) extends that of size first.
func (c *Client) ConsistencyProof(ctx context.Context, first, second uint64) (Consistency, error) {
	q := url.Values{"first": {strconv.FormatUint(first, 10)}, "second": {strconv.FormatUint(second, 10)}}
	return get[Consistency](ctx, c, "/v1/audit/consistency", q)
}

// Head reads the tree head of the given size (0: the present one).
func (c *Client) Head(ctx context.Context, size uint64) (core.TreeHead, error) {
	return get[core.TreeHead](ctx, c, "/v1/audit/head", url.Values{"size": {strconv.FormatUint(size, 10)}})
}

// Checkpoint is a signed tree head.
type Checkpoint struct {
	Head core.TreeHead `json:"head"`
	Note string        `json:"note"` // C2SP checkpoint
	Keys []string      `json:"keys"` // public keys of the node that signed
}

// Checkpoint asks the node to sign its present tree head.
func (c *Client) Checkpoint(ctx context.Context) (Checkpoint, error) {
	return get[Checkpoint](ctx, c, "/v1/audit/checkpoint", nil)
}

// Export opens the whole log in instar's export format. The caller closes it; a body that breaks off
// gives an error when it is read.
func (c *Client) Export(ctx context.Context) (io.ReadCloser, error) {
	resp, err := c.send(ctx, call{method: http.MethodGet, path: "/v1/audit/export"})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}
