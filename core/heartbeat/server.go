package heartbeat

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/instarhq/instar/core"
)

// Path is where beats are sent to, on the mux between nodes.
const Path = "POST /v1/heartbeat"

// maxBeat bounds a beat, and maxAnswer its answer, in bytes.
const (
	maxBeat   = 4 << 10
	maxAnswer = 1 << 20
)

// Server takes beats for a Tracker. All fields are required, but for Peer where beats do not come over
// the network.
type Server struct {
	Node    string
	Tracker *Tracker
	Seq     func() uint64                           // the newest record in this node's view
	Leases  func(node string) map[string]uint64     // held by a node, with their epochs, in this node's view
	Peer    func(ctx context.Context) (node string) // who has sent a request; empty: not known
}

// Take answers a beat; CodeNotLeader if this node does not lead.
func (s *Server) Take(beat Beat) (Answer, error) {
	if err := s.Tracker.Take(beat); err != nil {
		return Answer{}, err
	}
	return Answer{Leader: s.Node, Seq: s.Seq(), Leases: s.Leases(beat.Node)}, nil
}

// ServeHTTP takes a beat over the network: a node speaks for itself only.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var beat Beat
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBeat)).Decode(&beat); err != nil {
		http.Error(w, "a heartbeat that cannot be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	if peer := s.Peer(r.Context()); peer == "" || peer != beat.Node {
		http.Error(w, "a node sends heartbeats for itself only", http.StatusForbidden)
		return
	}
	answer, err := s.Take(beat)
	if err != nil {
		status := http.StatusInternalServerError
		if core.Retryable(err) {
			status = http.StatusServiceUnavailable
		}
		http.Error(w, err.Error(), status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the node sends another one if it does not get this
}
