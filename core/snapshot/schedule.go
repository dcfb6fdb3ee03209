package snapshot

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/state"
)

const (
	// lookEvery is how often schedules are looked at.
	lookEvery = time.Second
	// saveLimit bounds one scheduled snapshot, uploading included.
	saveLimit = time.Hour
	// firstRetry and lastRetry bound the pause after a failure.
	firstRetry = 30 * time.Second
	lastRetry  = 30 * time.Minute
)

// Scheduler makes the scheduled snapshots. It runs on the leader; a schedule that a former leader has
// run is not run again before it is due.
type Scheduler struct {
	keeper  *Keeper
	state   *state.State
	cluster string
	log     hclog.Logger
	retry   map[string]retry
}

type retry struct {
	at    time.Time
	delay time.Duration
}

// NewScheduler makes a scheduler for the snapshots of a cluster.
func NewScheduler(keeper *Keeper, s *state.State, cluster string, logger hclog.Logger) *Scheduler {
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	return &Scheduler{keeper: keeper, state: s, cluster: cluster, log: logger.Named("snapshot"), retry: map[string]retry{}}
}

// Run acts until ctx ends, and returns its error.
func (s *Scheduler) Run(ctx context.Context) error {
	if err := s.state.Ready(ctx); err != nil {
		return err
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		for name, schedule := range state.Schedules.All(s.state.View()) {
			if s.due(name, &schedule) {
				s.run(ctx, name, schedule)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

func (s *Scheduler) due(name string, schedule *core.Schedule) bool {
	now := s.keeper.Maker.Now()
	if r, failing := s.retry[name]; failing && now.Before(r.at) {
		return false
	}
	return schedule.Last == nil || !now.Before(schedule.Last.Time.Add(schedule.Every.Std())) ||
		schedule.Last.Time.After(now.Add(time.Hour)) // a clock that was set back must not stop it
}

func (s *Scheduler) run(ctx context.Context, name string, schedule core.Schedule) {
	save, cancel := context.WithTimeout(ctx, saveLimit)
	defer cancel()
	began := s.keeper.Maker.Now()
	file, manifest, err := s.keeper.Save(save, schedule.URL, schedule.Artifacts, nil)
	saved := err == nil
	if saved && (schedule.Keep > 0 || schedule.KeepFor > 0) {
		_, err = s.keeper.Prune(save, schedule.URL, s.cluster, schedule.Keep, schedule.KeepFor.Std())
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		r := s.retry[name]
		r.delay = min(max(2*r.delay, firstRetry), lastRetry)
		r.at = s.keeper.Maker.Now().Add(r.delay)
		s.retry[name] = r
		s.log.Warn("a scheduled snapshot has failed, trying again", "schedule", name, "in", r.delay, "error", err)
	} else {
		delete(s.retry, name)
		s.log.Info("snapshot taken", "schedule", name, "file", file.Name, "bytes", file.Bytes, "records", file.Seq,
			"missing_artifacts", len(manifest.Missing), "took", s.keeper.Maker.Now().Sub(began))
	}
	if !saved {
		file = core.SnapshotFile{}
	}
	s.note(ctx, name, file, err)
}

// note writes what became of it, unless that is no news. A file without a name was not made.
func (s *Scheduler) note(ctx context.Context, name string, file core.SnapshotFile, failure error) {
	meta := core.Meta{Principal: "controller", Verb: "schedule.ran", Reason: "snapshot " + file.Name}
	if failure != nil {
		meta.Verb, meta.Reason = "schedule.failed", failure.Error()
	}
	_, err := s.state.Update(ctx, meta, func(tx *state.Tx) error {
		schedule, ok := state.Schedules.Get(tx, name)
		if !ok {
			return nil
		}
		if file.Name != "" {
			schedule.Last = &core.Taken{Time: file.Time, Name: file.Name, Seq: file.Seq, Bytes: file.Bytes}
		}
		switch {
		case failure == nil:
			schedule.Failing = nil
		case schedule.Failing == nil:
			schedule.Failing = &core.Failing{Since: s.keeper.Maker.Now().UTC(), Error: failure.Error()}
		case schedule.Failing.Error != failure.Error():
			schedule.Failing = &core.Failing{Since: schedule.Failing.Since, Error: failure.Error()}
		case file.Name == "":
			return nil // no news
		}
		state.Schedules.Put(tx, name, schedule)
		return nil
	})
	if err != nil && ctx.Err() == nil {
		s.log.Warn("cannot note what became of a schedule", "schedule", name, "error", err)
	}
}
