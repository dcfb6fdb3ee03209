package raftstore

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func newTCPTransport(t *testing.T) raft.Transport {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	transport := NewTransport(tcpLayer{listener}, nil)
	t.Cleanup(func() {
		if err := closeTransport(transport); err != nil {
			t.Error(err)
		}
	})
	return transport
}

// Requests go out although nobody takes the answers to those before, all answers are there for whoever
// takes them later, in their order, and the pipeline can be closed with some left.
func TestPipelineNeedsNoConsumer(t *testing.T) {
	t.Parallel()
	const requests = 50
	leader, follower := quiet(newTCPTransport(t)), newTCPTransport(t)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case rpc := <-follower.Consumer():
				request := rpc.Command.(*raft.AppendEntriesRequest)
				rpc.Respond(&raft.AppendEntriesResponse{Term: request.Term, LastLog: request.PrevLogEntry, Success: false}, nil)
			case <-stop:
				return
			}
		}
	}()
	pipeline, err := leader.AppendEntriesPipeline("follower", follower.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() { sent <- sendAll(pipeline, requests) }()
	select {
	case err := <-sent:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("a request waits until somebody takes the answer to one before")
	}
	for i := range requests / 2 {
		select {
		case answer := <-pipeline.Consumer():
			if err := answer.Error(); err != nil {
				t.Fatal(err)
			}
			if got := answer.Response().LastLog; got != uint64(i) {
				t.Fatalf("answer %d is to request %d", i, got)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("answer %d does not come", i)
		}
	}
	if err := pipeline.Close(); err != nil {
		t.Error(err)
	}
	if _, err := pipeline.AppendEntries(&raft.AppendEntriesRequest{}, &raft.AppendEntriesResponse{}); err == nil {
		t.Error("a closed pipeline takes a request")
	}
}

func sendAll(p raft.AppendPipeline, requests int) error {
	for i := range requests {
		request := &raft.AppendEntriesRequest{Term: 1, PrevLogEntry: uint64(i)}
		if _, err := p.AppendEntries(request, &raft.AppendEntriesResponse{}); err != nil {
			return fmt.Errorf("request %d: %w", i, err)
		}
	}
	return nil
}
