package forward

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
)

const (
	dialPatience = 3 * time.Second
	// idleAfter is how long a connection without requests is kept.
	idleAfter = time.Minute
)

// Client asks other nodes. Its methods may be called concurrently.
type Client struct {
	dial   Dial
	logger hclog.Logger
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu    sync.Mutex
	links map[Peer]*attempt
	work  sync.WaitGroup
}

// attempt is a link, or one that is being made.
type attempt struct {
	done chan struct{} // closed when link or err is set
	link *link
	err  error
}

// NewClient makes a client that opens its connections with dial, one per peer, when they are needed.
func NewClient(dial Dial, logger hclog.Logger) *Client {
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	c := &Client{dial: dial, logger: logger, links: make(map[Peer]*attempt)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Close ends all connections; what is under way has an unknown outcome.
func (c *Client) Close() error {
	c.cancel()
	c.work.Wait()
	return nil
}

// Propose hands a record made by audit.Encode to a peer that should be the leader.
// CodeNotLeader, and CodeUnavailable, mean that it was certainly not proposed.
func (c *Client) Propose(ctx context.Context, to Peer, record []byte) (Answer, error) {
	f, err := c.call(ctx, to, kindPropose, append(remaining(ctx.Deadline()), record...))
	if err != nil {
		return Answer{}, err
	}
	switch f.kind {
	case kindReceipt:
		receipt, err := decodeReceipt(f.payload)
		return Answer{Receipt: receipt}, err
	case kindError:
		err, seen := decodeFailure(f.payload)
		return Answer{Seen: seen}, err
	}
	return Answer{}, unexpected(to, f.kind)
}

// ReadIndex asks a peer that should be the leader for its read index.
func (c *Client) ReadIndex(ctx context.Context, to Peer) (uint64, error) {
	f, err := c.call(ctx, to, kindIndex, remaining(ctx.Deadline()))
	if err != nil {
		return 0, err
	}
	if f.kind == kindSeq && len(f.payload) == 8 {
		return binary.BigEndian.Uint64(f.payload), nil
	}
	return 0, asError(to, f)
}

// Progress asks a peer how far it is.
func (c *Client) Progress(ctx context.Context, of Peer) (Progress, error) {
	var p Progress
	f, err := c.call(ctx, of, kindProgress, nil)
	if err != nil {
		return p, err
	}
	if f.kind != kindReport {
		return p, asError(of, f)
	}
	err = json.Unmarshal(f.payload, &p)
	return p, err
}

// Compare shows a peer a tree head of this node and gets the peer's of the same size.
func (c *Client) Compare(ctx context.Context, with Peer, head core.TreeHead) (core.TreeHead, error) {
	var theirs core.TreeHead
	data, err := json.Marshal(head)
	if err != nil {
		return theirs, err
	}
	f, err := c.call(ctx, with, kindCompare, data)
	if err != nil {
		return theirs, err
	}
	if f.kind != kindHead {
		return theirs, asError(with, f)
	}
	err = json.Unmarshal(f.payload, &theirs)
	return theirs, err
}

func asError(from Peer, f frame) error {
	if f.kind == kindError {
		err, _ := decodeFailure(f.payload)
		return err
	}
	return unexpected(from, f.kind)
}

func unexpected(from Peer, kind byte) error {
	return core.Errorf(core.CodeTimeout, "node %q gave an answer of kind %d, which this instard does not know", from.Node, kind).
		WithHint("all nodes of a cluster should run the same version of instard")
}

func (c *Client) call(ctx context.Context, to Peer, kind byte, payload []byte) (frame, error) {
	l, err := c.link(ctx, to)
	if err != nil {
		return frame{}, err
	}
	return l.call(ctx, kind, payload)
}

// link gives the connection to a peer, or opens it; whoever asks meanwhile waits for the same.
func (c *Client) link(ctx context.Context, to Peer) (*link, error) {
	c.mu.Lock()
	a, ok := c.links[to]
	if !ok {
		if c.ctx.Err() != nil {
			c.mu.Unlock()
			return nil, core.Errorf(core.CodeUnavailable, "this node is stopping")
		}
		a = &attempt{done: make(chan struct{})}
		c.links[to] = a
		c.work.Go(func() { c.open(to, a) })
	}
	c.mu.Unlock()
	select {
	case <-a.done:
		return a.link, a.err
	case <-ctx.Done():
		return nil, core.Errorf(core.CodeUnavailable, "node %q at %s has not accepted a connection in time: %w", to.Node, to.Address, ctx.Err())
	}
}

// open dials and runs the connection until it ends.
func (c *Client) open(to Peer, a *attempt) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.links, to)
	}()
	ctx, cancel := context.WithTimeout(c.ctx, dialPatience)
	conn, err := c.dial(ctx, to)
	cancel()
	if err != nil {
		a.err = core.Errorf(core.CodeUnavailable, "node %q at %s cannot be reached: %w", to.Node, to.Address, err)
		close(a.done)
		return
	}
	a.link = newLink(to, conn)
	close(a.done)
	if err := a.link.run(c.ctx); err != nil {
		c.logger.Debug("connection ended", "node", to.Node, "address", to.Address, "error", err)
	}
}
