package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/instarhq/instar/core"
)

var (
	raftState     = gauge("instar_raft_state", "1 for the state that this node is in, 0 for the others.", "state")
	raftLeader    = gauge("instar_raft_is_leader", "Whether this node leads.")
	raftKnown     = gauge("instar_raft_leader_known", "Whether this node knows a leader. Without one nothing can be written.")
	raftTerm      = gauge("instar_raft_term", "The term that this node is in. It grows with every election.")
	raftPeers     = gauge("instar_raft_peers", "Members of the Raft cluster, this node included, by whether they vote.", "suffrage")
	raftContact   = gauge("instar_raft_last_contact_seconds", "How long ago the leader was heard; 0 on the leader.")
	raftFirst     = gauge("instar_raft_log_first_index", "Oldest entry that Raft's log still has.")
	raftLast      = gauge("instar_raft_log_last_index", "Newest entry of Raft's log.")
	raftCommitted = gauge("instar_raft_commit_index", "Newest entry that is known to be committed.")
	raftApplied   = gauge("instar_raft_applied_index", "Newest entry that reads on this node see.")
	raftDurable   = gauge("instar_raft_snapshot_index", "Newest entry that the state file, which is Raft's snapshot, has. It follows the applied one by a flush.")

	storeRecords  = counter("instar_store_records_total", "Records in the audit log.")
	storeObjects  = gauge("instar_store_objects", "Objects that exist now.")
	storeQueued   = gauge("instar_store_queue_transactions", "Transactions that wait on the leader to be proposed.")
	storeQueuedB  = gauge("instar_store_queue_bytes", "Size of the transactions that wait on the leader to be proposed.")
	storePending  = gauge("instar_store_pending_bytes", "What was applied and is not in the state file yet.")
	storeFile     = gauge("instar_store_file_bytes", "Size of the state file.")
	storeLogBytes = gauge("instar_store_log_bytes", "Size of the files of Raft's log.")
	storeRefused  = counter("instar_store_refused_total", "Transactions that this node refused as leader because too many were waiting (back-pressure).")
)

var raftStates = []string{"leader", "follower", "candidate", "shutdown"}

func (o out) storeFigures(s Store) {
	for _, state := range raftStates {
		o.flag(raftState, s.State == state, state)
	}
	o.flag(raftLeader, s.State == "leader")
	o.flag(raftKnown, s.Leader != "")
	o.put(raftTerm, float64(s.Term))
	o.put(raftPeers, float64(s.Voters), "voter")
	o.put(raftPeers, float64(s.Nonvoters), "nonvoter")
	o.put(raftContact, s.Silent.Seconds())
	o.put(raftFirst, float64(s.LogFirst))
	o.put(raftLast, float64(s.LogLast))
	o.put(raftCommitted, float64(s.Committed))
	o.put(raftApplied, float64(s.Applied))
	o.put(raftDurable, float64(s.Durable))
	o.put(storeRecords, float64(s.Records))
	o.put(storeObjects, float64(s.Objects))
	o.put(storeQueued, float64(s.Queued))
	o.put(storeQueuedB, float64(s.QueuedBytes))
	o.put(storePending, float64(s.Pending))
	o.put(storeFile, float64(s.FileBytes))
	o.put(storeLogBytes, float64(s.LogBytes))
	o.put(storeRefused, float64(s.Refused))
}

// storeMetrics are what is counted as transactions pass.
type storeMetrics struct {
	commit    prometheus.Histogram
	group     prometheus.Histogram
	requests  *prometheus.CounterVec
	duration  prometheus.Histogram
	forwarded *prometheus.CounterVec
}

func newStoreMetrics() storeMetrics {
	return storeMetrics{
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "instar_store_commit_duration_seconds", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
			Help: "On the leader: from when a transaction was queued until it was committed and applied.",
		}),
		group: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "instar_store_group_transactions", Buckets: prometheus.ExponentialBuckets(1, 2, 9),
			Help: "On the leader: how many transactions shared one entry of Raft's log.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "instar_store_requests_total", Help: "Transactions that this node's own parts asked for, by outcome: ok, or the error's code.",
		}, []string{"code"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "instar_store_request_duration_seconds", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
			Help: "Until a transaction of this node's own parts was durable and applied here, the way to the leader included.",
		}),
		forwarded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "instar_store_forwarded_total", Help: "Requests that this node's store has passed on to the leader's, by outcome.",
		}, []string{"call", "code"}),
	}
}

func (m *storeMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.commit, m.group, m.requests, m.duration, m.forwarded}
}

// Committed implements raftstore.Observer.
func (t *Telemetry) Committed(took time.Duration) { t.store.commit.Observe(took.Seconds()) }

// Grouped implements raftstore.Observer.
func (t *Telemetry) Grouped(transactions int) { t.store.group.Observe(float64(transactions)) }

// Proposed notes a transaction of this node's own parts.
func (t *Telemetry) Proposed(took time.Duration, err error) {
	t.store.requests.WithLabelValues(codeOf(err)).Inc()
	if err == nil {
		t.store.duration.Observe(took.Seconds())
	}
}

// StoreForwarded notes a request that the store has passed on: propose or read_index.
func (t *Telemetry) StoreForwarded(call string, err error) {
	t.store.forwarded.WithLabelValues(call, codeOf(err)).Inc()
}

// codeOf is an error's code, ok for none.
func codeOf(err error) string {
	if err == nil {
		return "ok"
	}
	return string(core.CodeOf(err))
}
