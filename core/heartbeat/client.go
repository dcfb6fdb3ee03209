package heartbeat

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Sender sends a beat to the leader and returns its answer.
type Sender func(ctx context.Context, leader string, beat Beat) (Answer, error)

// ClientConfig is what a Client needs. All but Logger are required.
type ClientConfig struct {
	Leader func() string // the leader's node name as far as this node knows; empty: nobody
	Beat   func() Beat   // what to say now
	Send   Sender
	Logger hclog.Logger
}

// Client sends a node's beats. Make one with NewClient and run it with Run.
type Client struct {
	cfg ClientConfig

	mu     sync.Mutex
	sent   time.Time // when the newest beat that was taken was sent; monotonic
	leases map[string]uint64
	moved  chan struct{} // closed and replaced with every answer
}

// NewClient makes the client of a node.
func NewClient(cfg ClientConfig) *Client {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	return &Client{cfg: cfg, moved: make(chan struct{})}
}

// Run sends beats until ctx ends.
func (c *Client) Run(ctx context.Context) error {
	failing := time.Time{} // since when
	for {
		began := time.Now()
		err := c.beat(ctx)
		wait := Every - Every/10 + rand.N(Every/5) - time.Since(began)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			wait = retryAfter
			if failing.IsZero() {
				failing = began
				c.cfg.Logger.Debug("the leader does not take heartbeats", "error", err)
			}
		case !failing.IsZero():
			if out := began.Sub(failing); out > gap {
				c.cfg.Logger.Info("the leader takes heartbeats again", "after", out.Round(time.Millisecond))
			}
			failing = time.Time{}
		}
		timer := time.NewTimer(max(wait, 0))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

var errNobody = errors.New("no leader is known")

// beat sends one beat. It gives up when somebody else leads, or after sendTime.
func (c *Client) beat(ctx context.Context) error {
	leader := c.cfg.Leader()
	if leader == "" {
		return errNobody
	}
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	stop := c.whileLeading(ctx, leader, cancel)
	defer stop()
	sent := time.Now()
	answer, err := c.cfg.Send(ctx, leader, c.cfg.Beat())
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err() // too late to mean anything
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent, c.leases = sent, answer.Leases
	close(c.moved)
	c.moved = make(chan struct{})
	return nil
}

// whileLeading calls cancel when another node leads than leader. The returned function ends that.
func (c *Client) whileLeading(ctx context.Context, leader string, cancel context.CancelFunc) func() {
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(leaderPoll)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-ticker.C:
				if now := c.cfg.Leader(); now != leader && now != "" {
					cancel()
					return
				}
			}
		}
	}()
	return func() { close(done); <-ended }
}

// Until says up to when this node may act under an epoch of a lease; a time that has passed: not at all.
// Compare it with time.Now only: it is on the monotonic clock. That clock may stand still while a machine
// sleeps, so the other one has a veto.
func (c *Client) Until(lease string, epoch uint64) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if held, ok := c.leases[lease]; !ok || held != epoch {
		return time.Time{}
	}
	if time.Now().Round(0).Sub(c.sent.Round(0)) > LeaseTime {
		return time.Time{}
	}
	return c.sent.Add(LeaseTime)
}

// Acknowledged is when the newest beat that the leader has taken was sent; zero: none was.
func (c *Client) Acknowledged() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}

// Answered is closed at the next answer.
func (c *Client) Answered() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moved
}
