package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity/ca"
	"github.com/instarhq/instar/core/telemetry"
	"github.com/instarhq/instar/raftstore"
	"github.com/instarhq/instar/raftstore/forward"
)

// startMetrics listens for Prometheus where the configuration says. Nobody is asked there who it is: it
// answers figures and probes, and nothing else.
func (d *Daemon) startMetrics(ctx context.Context) error {
	if d.cfg.Metrics == "" {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.cfg.Metrics)
	if err != nil {
		return fmt.Errorf("metrics address: %w", err)
	}
	d.metrics = listener
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", d.telemetry.Handler())
	mux.Handle("GET /livez", &d.api)
	mux.Handle("GET /readyz", &d.api)
	d.scrapes = &http.Server{
		Handler: mux, ReadHeaderTimeout: headerTime, WriteTimeout: time.Minute, IdleTimeout: idleTime, MaxHeaderBytes: maxHeaders,
		ErrorLog: d.log.Named("http").StandardLogger(nil),
	}
	go func() {
		if err := d.scrapes.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			d.cancel(fmt.Errorf("metrics on %s: %w", listener.Addr(), err))
		}
	}()
	return nil
}

func (d *Daemon) stopMetrics() error {
	if d.scrapes == nil {
		return nil
	}
	return d.scrapes.Close()
}

// MetricsAddress is where Prometheus is answered without credentials, nil if nowhere.
func (d *Daemon) MetricsAddress() net.Addr {
	if d.metrics == nil {
		return nil
	}
	return d.metrics.Addr()
}

// startTelemetry begins to read the figures of what runs by now.
func (d *Daemon) startTelemetry(context.Context) error {
	d.background("outcomes", func(ctx context.Context) error {
		return d.telemetry.Follow(ctx, d.state, d.store.IsLeader)
	})
	d.telemetry.Attach(telemetry.Sources{
		Store: d.storeFigures, View: d.state.View, Leads: d.store.IsLeader, Ready: d.waits, Drivers: d.driverFigures,
		Look: d.beats.tracker.Look, Acknowledged: d.beats.client.Acknowledged, Certificates: d.certificates,
	})
	return nil
}

func (d *Daemon) stopTelemetry() error {
	d.telemetry.Detach()
	return nil
}

// waits is what the node waits for before it is ready, in a sentence; empty: it is.
func (d *Daemon) waits() string {
	if d.member != nil {
		if waiting := d.member.waits(); waiting != "" {
			return waiting
		}
	}
	if d.leader() == "" {
		return "a leader"
	}
	return ""
}

func (d *Daemon) storeFigures() telemetry.Store {
	s := d.store.Stats()
	return telemetry.Store{
		State: s.State, Leader: s.Leader, Term: s.Term, Voters: s.Voters, Nonvoters: s.Nonvoters, Silent: s.Silent,
		LogFirst: s.LogFirst, LogLast: s.LogLast, Committed: s.Committed, Applied: s.Applied, Durable: s.Durable,
		Records: s.Seq, Objects: s.Objects, Queued: s.Queued, QueuedBytes: s.QueuedBytes, Refused: s.Refused, Pending: s.Pending,
		FileBytes: s.FileBytes, LogBytes: s.LogBytes,
	}
}

func (d *Daemon) driverFigures() []telemetry.Driver {
	targets := d.host.Figures()
	out := make([]telemetry.Driver, len(targets))
	for i, t := range targets {
		out[i] = telemetry.Driver{Target: t.Target, Launches: t.Launches, Failures: t.Failures}
	}
	return out
}

// certificates are when this node's certificate and the authorities' end.
func (d *Daemon) certificates() map[string]time.Time {
	out := map[string]time.Time{}
	if d.member == nil {
		return out
	}
	if leaf := d.member.keeper.Leaf(); leaf != nil {
		out["node"] = leaf.NotAfter
	}
	authorities, _ := ca.ParseBundle(d.member.keeper.Bundle()...) // the keeper has parsed them before
	for _, cert := range authorities {
		if cert.NotAfter.After(out["ca"]) {
			out["ca"] = cert.NotAfter
		}
	}
	return out
}

// measuredStore counts what this node's parts write.
type measuredStore struct {
	*raftstore.Store
	telemetry *telemetry.Telemetry
}

// Propose implements core.Proposer.
func (m measuredStore) Propose(ctx context.Context, txn core.Txn) (core.Receipt, error) {
	began := time.Now()
	receipt, err := m.Store.Propose(ctx, txn)
	m.telemetry.Proposed(time.Since(began), err)
	return receipt, err
}

// measuredForwarder counts what the store asks of the leader's.
type measuredForwarder struct {
	raftstore.Forwarder
	telemetry *telemetry.Telemetry
}

// Propose implements raftstore.Forwarder.
func (m measuredForwarder) Propose(ctx context.Context, to forward.Peer, record []byte) (forward.Answer, error) {
	answer, err := m.Forwarder.Propose(ctx, to, record)
	m.telemetry.StoreForwarded("propose", err)
	return answer, err
}

// ReadIndex implements raftstore.Forwarder.
func (m measuredForwarder) ReadIndex(ctx context.Context, to forward.Peer) (uint64, error) {
	seq, err := m.Forwarder.ReadIndex(ctx, to)
	m.telemetry.StoreForwarded("read_index", err)
	return seq, err
}

// countedPassOn is passOn, counted.
func (d *Daemon) countedPassOn(node string, r *http.Request) (*http.Response, error) {
	resp, err := d.passOn(node, r)
	if err != nil {
		d.telemetry.Forwarded(0)
		return nil, err
	}
	d.telemetry.Forwarded(resp.StatusCode)
	return resp, nil
}
