package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/e2e/judge"
	"github.com/instarhq/instar/e2e/load"
)

// figures are what the demo found, as build/demo.json has them.
type figures struct {
	Requests      int     `json:"requests"`
	Failed        int     `json:"failed"`
	WrongRevision int     `json:"wrong_revision"` // answers from a revision that was not active when the request began
	WebSocketLost int     `json:"websocket_lost"` // sessions that did not end with a clean close
	Switches      int     `json:"switches"`
	SwitchMS      float64 `json:"switch_ms"`   // worst: from the committed switch to the last request that reached the old revision
	RollbackMS    float64 `json:"rollback_ms"` // from asking for it until every data plane has confirmed and the last request reached the bad revision
	P99Steady     float64 `json:"p99_ms_steady"`
	P99Switching  float64 `json:"p99_ms_switching"`
	Restarted     int     `json:"instances_restarted_by_daemon_restart"`
	AuditRecords  uint64  `json:"audit_records"`
	AuditVerified bool    `json:"audit_verified"`

	broken   []string // invariants that the log shows broken
	failures []string
	wrong    []string
	result   *load.Result
}

// around is how long before a switch's commit and after its confirmation a request counts as sent while
// switching.
const (
	justBefore = 250 * time.Millisecond
	justAfter  = 750 * time.Millisecond
)

// judge ends the load and compares what the customers saw with what the log says.
func (s *stage) judge(ctx context.Context) (*figures, error) {
	result := s.customers.Stop()
	s.customers = nil
	records, err := judge.Read(ctx, s.node.API)
	if err != nil {
		return nil, err
	}
	switches, err := judge.Switches(records, "shop")
	if err != nil {
		return nil, err
	}
	f := &figures{
		Requests: len(result.Records), Failed: result.Failed(), WebSocketLost: result.Lost,
		Restarted: s.restarted, failures: result.Failures(20), result: result,
	}
	f.wrong = result.WrongRevision(judge.Timeline(switches))
	f.WrongRevision = len(f.wrong)
	f.timings(switches, s)
	if f.broken, err = judge.All(records); err != nil {
		return nil, err
	}
	err = f.verifyLog(ctx, s)
	return f, err
}

func (f *figures) timings(switches []judge.Switch, s *stage) {
	var windows []load.Window
	for i, w := range switches {
		if w.From == 0 {
			continue // the shop's opening: nobody was there
		}
		f.Switches++
		windows = append(windows, load.Window{From: w.Committed.Add(-justBefore), To: w.Confirmed.Add(justAfter)})
		until := time.Now()
		if i+1 < len(switches) {
			until = switches[i+1].Committed
		}
		last := f.result.LastTo(w.From, load.Window{From: w.Committed, To: until})
		if !last.IsZero() {
			f.SwitchMS = max(f.SwitchMS, milliseconds(last.Sub(w.Committed)))
		}
		if f.RollbackMS == 0 && w.Committed.After(s.asked) {
			done := w.Confirmed
			if last.After(done) {
				done = last
			}
			f.RollbackMS = milliseconds(done.Sub(s.asked))
		}
	}
	f.P99Steady = milliseconds(f.result.Percentile(0.99, s.quiet...))
	f.P99Switching = milliseconds(f.result.Percentile(0.99, windows...))
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

// verifyLog checks the exported log with the code that an auditor would use, without the daemon's help.
func (f *figures) verifyLog(ctx context.Context, s *stage) error {
	export, err := s.node.API.Export(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = export.Close() }()
	report, err := audit.VerifyExport(export, audit.Trust{})
	f.AuditRecords = report.Records
	f.AuditVerified = err == nil && report.Failure == nil && report.Records > 0
	return err
}

// onTarget reports whether switching cost the customers nothing that they could feel.
func (f *figures) onTarget() bool {
	return f.P99Switching < 1.5*f.P99Steady || f.P99Switching <= f.P99Steady+5
}

// verdict is nil only if nothing failed and every target was met. The one of latency wants a machine that
// is not busy with other things.
func (f *figures) verdict() error {
	var wrong []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	check(f.Requests > 0, "no request was made")
	check(f.Failed == 0, "%d requests failed", f.Failed)
	check(f.WrongRevision == 0, "%d answers came from a revision that was not active", f.WrongRevision)
	check(f.WebSocketLost == 0, "%d WebSocket sessions were lost", f.WebSocketLost)
	check(f.Switches > 0, "no switch happened")
	check(f.RollbackMS > 0 && f.RollbackMS < 1000, "the rollback took %.0f ms, want under 1000", f.RollbackMS)
	check(f.Restarted == 0, "%d instances were restarted by the daemon's restart", f.Restarted)
	check(f.onTarget(), "p99 while switching is %.2f ms, in steady state %.2f ms", f.P99Switching, f.P99Steady)
	check(f.AuditVerified, "the audit log does not verify")
	check(len(f.broken) == 0, "%d invariants are broken in the log", len(f.broken))
	return errors.Join(wrong...)
}

func (f *figures) write(path string) error {
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// print shows the table at the end, and everything that went wrong.
func (f *figures) print(s *stage) {
	for _, lines := range [][]string{f.failures, f.wrong[:min(20, len(f.wrong))], f.broken} {
		for _, line := range lines {
			s.say("✘ %s", line)
		}
	}
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "customers\trequests\tfailed\tp50\tp99\tmax")
	for _, row := range f.result.Summary() {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\n", row.Kind, row.Requests, row.Failed, short(row.P50), short(row.P99), short(row.Max))
	}
	fmt.Fprintf(w, "all\t%d\t%d\t\t\t\n\n", f.Requests, f.Failed)
	_ = w.Flush()
	row := func(name, value, want string, ok bool) {
		mark := "✔"
		if !ok {
			mark = "✘"
		}
		fmt.Fprintf(w, "%s %s\t%s\t%s\n", mark, name, value, want)
	}
	row("failed requests", fmt.Sprint(f.Failed), "0", f.Failed == 0)
	row("answers from a revision that was not active", fmt.Sprint(f.WrongRevision), "0", f.WrongRevision == 0)
	row("WebSocket sessions lost", fmt.Sprintf("%d of %d", f.WebSocketLost, f.result.Sessions), "0", f.WebSocketLost == 0)
	row("switches", fmt.Sprint(f.Switches), "", f.Switches > 0)
	row("last request to the old revision after a switch", fmt.Sprintf("%.1f ms", f.SwitchMS), "", true)
	row("rollback, from asking to the last request", fmt.Sprintf("%.0f ms", f.RollbackMS), "under 1000", f.RollbackMS > 0 && f.RollbackMS < 1000)
	row("p99 in steady state", fmt.Sprintf("%.2f ms", f.P99Steady), "", true)
	row("p99 while switching", fmt.Sprintf("%.2f ms", f.P99Switching), "under 1.5 × steady, or within 5 ms", f.onTarget())
	row("instances restarted with the daemon", fmt.Sprint(f.Restarted), "0", f.Restarted == 0)
	row("invariants I1, I3, I5, I7 in the log", fmt.Sprintf("%d broken", len(f.broken)), "0", len(f.broken) == 0)
	row("audit log", fmt.Sprintf("%d records", f.AuditRecords), "verified", f.AuditVerified)
	_ = w.Flush()
	fmt.Println()
}

func short(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }
