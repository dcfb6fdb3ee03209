package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/e2e/judge"
)

const (
	// wholeWithin is what the cluster gets to be whole again after the last fault.
	wholeWithin = 2 * time.Minute
	// undecided is for how long the history is searched for an order.
	undecided = 2 * time.Minute
)

// converge heals everything and waits until nodes and service are whole.
func (r *run) converge(ctx context.Context) error {
	r.say("everything is healed")
	if err := errors.Join(r.lab.Heal(ctx), r.remount(ctx, -1, "rw"), r.revive(ctx)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, wholeWithin)
	defer cancel()
	for {
		why := r.broken(ctx)
		if why == "" {
			r.say("the cluster and the service are whole")
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("not whole within %s: %s", wholeWithin, why)
		}
	}
}

// broken says what is not whole; empty: nothing.
func (r *run) broken(ctx context.Context) string {
	for i, n := range r.cluster.Nodes {
		health, err := n.API.Health(ctx)
		if err != nil || !health.Ready {
			return fmt.Sprintf("n%d is not ready: %s %v", i+1, health.Waiting, err)
		}
	}
	status, err := r.cluster.Nodes[0].API.ClusterStatus(ctx)
	if err != nil {
		return err.Error()
	}
	if status.Leader == "" || status.Voters != hosts {
		return fmt.Sprintf("%d voters, leader %q", status.Voters, status.Leader)
	}
	view, err := r.cluster.Nodes[0].API.Service(ctx, "shop", 0)
	if err != nil {
		return err.Error()
	}
	if view.Healthy < view.Service.Count {
		return fmt.Sprintf("%d of %d instances are healthy", view.Healthy, view.Service.Count)
	}
	return ""
}

// judge says everything that was wrong.
func (r *run) judge(ctx context.Context) error {
	errs := []error{r.judgeHistory(), r.judgeCustomers()}
	if err := r.caughtUp(ctx); err != nil {
		return errors.Join(append(errs, err)...)
	}
	records, err := judge.Read(ctx, r.cluster.Nodes[0].API)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	errs = append(errs, r.judgeLogs(ctx), r.judgeReceipts(records), r.judgeBirths(), r.judgeProcesses())
	broken, err := judge.All(records)
	if err != nil {
		errs = append(errs, err)
	}
	for _, line := range broken {
		errs = append(errs, errors.New(line))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.say("%d operations, %d of them acknowledged writes; %d requests of customers, %d failed, %d without an excuse; %d rollouts; %d records",
		len(r.history.operations), len(r.history.receipts), r.customers.asked, len(r.customers.complaints),
		len(r.customers.unexcused(r.windows)), r.rollouts, len(records))
	return errors.Join(errs...)
}

// caughtUp waits until every node has every acknowledged write: a node may be told of one a moment later.
func (r *run) caughtUp(ctx context.Context) error {
	newest := uint64(0)
	for _, receipt := range r.history.receipts {
		newest = max(newest, receipt.Seq)
	}
	ctx, cancel := context.WithTimeout(ctx, wholeWithin)
	defer cancel()
	for i, n := range r.cluster.Nodes {
		for {
			health, err := n.API.Health(ctx)
			if err == nil && health.Seq >= newest {
				break
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("I6: record %d was acknowledged, n%d has %d: %w", newest, i+1, health.Seq, errors.Join(ctx.Err(), err))
			}
		}
	}
	return nil
}

func (r *run) judgeHistory() error {
	result, info := porcupine.CheckOperationsVerbose(model, r.history.operations, undecided)
	if result == porcupine.Ok {
		return nil
	}
	path := filepath.Join(os.TempDir(), fmt.Sprintf("instar-chaos-%d.html", r.Seed))
	if err := porcupine.VisualizePath(model, info, path); err != nil {
		return err
	}
	return fmt.Errorf("the history is not linearizable (%s): %s shows it", result, path)
}

func (r *run) judgeCustomers() error {
	r.mu.Lock()
	windows := slices.Clone(r.windows)
	r.mu.Unlock()
	var errs []error
	for i, c := range r.customers.unexcused(windows) {
		if i == 10 {
			break
		}
		errs = append(errs, fmt.Errorf("I8: at %.1fs, host n%d: %s", c.at.Sub(r.began).Seconds(), c.host, c.why))
	}
	return errors.Join(errs...)
}

// judgeLogs compares the nodes' logs at the size that the shortest has.
func (r *run) judgeLogs(ctx context.Context) error {
	size := uint64(0)
	for i, n := range r.cluster.Nodes {
		health, err := n.API.Health(ctx)
		if err != nil {
			return err
		}
		if i == 0 || health.Seq < size {
			size = health.Seq
		}
	}
	var first core.TreeHead
	for i, n := range r.cluster.Nodes {
		head, err := n.API.Head(ctx, size)
		if err != nil {
			return fmt.Errorf("tree head of n%d: %w", i+1, err)
		}
		if i == 0 {
			first = head
		} else if head != first {
			return fmt.Errorf("at %d records n%d has root %s, n1 %s", size, i+1, head.Root, first.Root)
		}
	}
	return nil
}

// judgeReceipts finds every acknowledged write in the log (I6).
func (r *run) judgeReceipts(records []core.Record) error {
	var errs []error
	for _, receipt := range r.history.receipts {
		if receipt.Seq > uint64(len(records)) {
			errs = append(errs, fmt.Errorf("I6: record %d was acknowledged, the log has %d", receipt.Seq, len(records)))
		} else if records[receipt.Seq-1].LeafHash != receipt.LeafHash {
			errs = append(errs, fmt.Errorf("I6: record %d is not the one that was acknowledged", receipt.Seq))
		}
	}
	return errors.Join(errs...)
}

// judgeBirths finds instances that were made twice (I4).
func (r *run) judgeBirths() error {
	data, err := os.ReadFile(r.births)
	if err != nil {
		return err
	}
	var errs []error
	made := map[string]int{}
	for line := range bytes.Lines(data) {
		var birth struct{ Instance string }
		if err := json.Unmarshal(line, &birth); err != nil {
			return fmt.Errorf("births: %w", err)
		}
		if made[birth.Instance]++; made[birth.Instance] == 2 {
			errs = append(errs, fmt.Errorf("I4: %s was made twice", birth.Instance))
		}
	}
	return errors.Join(errs...)
}

// judgeProcesses looks for what no process may have written.
func (r *run) judgeProcesses() error {
	var errs []error
	for i, n := range r.cluster.Nodes {
		data, err := os.ReadFile(n.LogPath())
		if err != nil {
			return err
		}
		for _, bad := range []string{"WARNING: DATA RACE", "panic:", "fatal error:"} {
			if at := bytes.Index(data, []byte(bad)); at >= 0 {
				errs = append(errs, fmt.Errorf("n%d: %.2000s", i+1, data[at:]))
			}
		}
	}
	return errors.Join(errs...)
}
