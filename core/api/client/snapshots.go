package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/instarhq/instar/core"
)

// Checkpoints lists the named points of the log.
func (c *Client) Checkpoints(ctx context.Context, list List) (core.Page[core.Checkpoint], error) {
	return get[core.Page[core.Checkpoint]](ctx, c, "/v1/checkpoints", list.query())
}

// CreateCheckpoint gives a point of the log a name; the zero Point is now.
func (c *Client) CreateCheckpoint(ctx context.Context, w Write, name string, at core.Point) (core.Receipt, error) {
	body := map[string]any{"name": name}
	if at != (core.Point{}) {
		body["at"] = at
	}
	return post[core.Receipt](ctx, c, http.MethodPost, "/v1/checkpoints", w, body)
}

// DeleteCheckpoint forgets a name.
func (c *Client) DeleteCheckpoint(ctx context.Context, w Write, name string) (core.Receipt, error) {
	return post[core.Receipt](ctx, c, http.MethodDelete, "/v1/checkpoints/"+url.PathEscape(name), w, nil)
}

// PlanReturn asks what going back to a point would change.
func (c *Client) PlanReturn(ctx context.Context, to core.Point) (core.Return, error) {
	var out core.Return
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/return/plan", body: map[string]any{"to": to}}, &out)
	return out, err
}

// Return makes all services what they were at a point.
func (c *Client) Return(ctx context.Context, w Write, to core.Point, deleteNewer bool) (core.Return, error) {
	return post[core.Return](ctx, c, http.MethodPost, "/v1/return", w, map[string]any{"to": to, "delete_newer": deleteNewer})
}

// Recovery shows what runs after a restore, against what was restored.
func (c *Client) Recovery(ctx context.Context) (core.RecoveryView, error) {
	return get[core.RecoveryView](ctx, c, "/v1/recovery", nil)
}

// ApproveRecovery lets a restored cluster act.
func (c *Client) ApproveRecovery(ctx context.Context, w Write, how core.ApproveRequest) (core.Receipt, error) {
	return post[core.Receipt](ctx, c, http.MethodPost, "/v1/recovery/approve", w, how)
}

// DownloadSnapshot copies a snapshot of now to w.
func (c *Client) DownloadSnapshot(ctx context.Context, w io.Writer, artifacts bool) error {
	resp, err := c.send(ctx, call{
		method: http.MethodGet, path: "/v1/snapshot", query: url.Values{"artifacts": {strconv.FormatBool(artifacts)}},
	})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // everything has been read, or failed
	if _, err := io.Copy(w, resp.Body); err != nil {
		return core.Errorf(core.CodeUnavailable, "the snapshot broke off: %w", err).WithHint("instard's log says why")
	}
	return nil
}

// SaveSnapshot has the node save a snapshot to a directory of its own or a bucket.
func (c *Client) SaveSnapshot(ctx context.Context, w Write, to string, artifacts bool) (core.SnapshotSaved, error) {
	return post[core.SnapshotSaved](ctx, c, http.MethodPost, "/v1/snapshots", w, map[string]any{"to": to, "artifacts": artifacts})
}

// Snapshots lists what a directory of the node, or a bucket, has.
func (c *Client) Snapshots(ctx context.Context, in string, all bool) ([]core.SnapshotFile, error) {
	out, err := get[core.SnapshotList](ctx, c, "/v1/snapshots", url.Values{"in": {in}, "all": {strconv.FormatBool(all)}})
	return out.Items, err
}

// PruneSnapshots deletes old ones and gives those that are gone.
func (c *Client) PruneSnapshots(ctx context.Context, w Write, in string, keep int, keepFor core.Duration) ([]core.SnapshotFile, error) {
	body := map[string]any{"in": in, "keep": keep, "keep_for": keepFor}
	out, err := post[core.SnapshotList](ctx, c, http.MethodPost, "/v1/snapshots/prune", w, body)
	return out.Items, err
}

// VerifySnapshot has the node check a file of its own or of a bucket.
func (c *Client) VerifySnapshot(ctx context.Context, file string, keys []string, deep bool) (core.SnapshotReport, error) {
	var out core.SnapshotReport
	body := map[string]any{"file": file, "keys": keys, "deep": deep}
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/snapshots/verify", body: body}, &out)
	return out, err
}

// Drill has the node restore the newest snapshot into a scratch directory.
func (c *Client) Drill(ctx context.Context, in string, keys []string) (core.SnapshotReport, error) {
	var out core.SnapshotReport
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/snapshots/drill", body: map[string]any{"in": in, "keys": keys}}, &out)
	return out, err
}

// Schedules lists the snapshots that are made by themselves.
func (c *Client) Schedules(ctx context.Context, list List) (core.Page[core.Schedule], error) {
	return get[core.Page[core.Schedule]](ctx, c, "/v1/schedules", list.query())
}

// PutSchedule has snapshots made by themselves.
func (c *Client) PutSchedule(ctx context.Context, w Write, schedule core.Schedule) (core.Receipt, error) {
	return post[core.Receipt](ctx, c, http.MethodPut, "/v1/schedules/"+url.PathEscape(schedule.Name), w, schedule)
}

// DeleteSchedule ends that.
func (c *Client) DeleteSchedule(ctx context.Context, w Write, name string) (core.Receipt, error) {
	return post[core.Receipt](ctx, c, http.MethodDelete, "/v1/schedules/"+url.PathEscape(name), w, nil)
}

// Restore replaces the state of the cluster by that of a snapshot: the file that is given, or without one the
// file at the address from, which the node reads. It is sent once: a restore that broke off is looked
// at, not repeated.
func (c *Client) Restore(ctx context.Context, w Write, file io.Reader, from string, rebuild bool) (core.Receipt, error) {
	query := url.Values{"rebuild": {strconv.FormatBool(rebuild)}}
	if from != "" {
		query.Set("from", from)
	}
	var out core.Receipt
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/restore", query: query, file: file, write: &w}, &out)
	return out, err
}
