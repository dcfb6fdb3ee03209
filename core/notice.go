package core

import "time"

// Notice is one sentence for people about something that a record has brought about: a rollout's phase, an
// instance that failed, a node that is silent. It is derived from the log and never stored.
type Notice struct {
	Seq      uint64    `json:"seq"` // of the record; several notices may come of one
	Time     time.Time `json:"time"`
	Topic    Topic     `json:"topic"`
	Severity Severity  `json:"severity"`
	Message  string    `json:"message"`
	Service  string    `json:"service,omitempty"`
	Node     string    `json:"node,omitempty"`
	Object   string    `json:"object"` // kind/id
	By       string    `json:"by"`     // the record's principal
}

// Topic is what a Notice is about.
type Topic string

// The topics of notices.
const (
	TopicService  Topic = "service"
	TopicRollout  Topic = "rollout"
	TopicInstance Topic = "instance"
	TopicNode     Topic = "node"
	TopicDriver   Topic = "driver"
	TopicMember   Topic = "member"
	TopicLease    Topic = "lease"
	TopicSnapshot Topic = "snapshot"
	TopicRecovery Topic = "recovery"
)
