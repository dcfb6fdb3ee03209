package heartbeat

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// HTTP sends beats over the network. url gives the address of a path on a node.
func HTTP(client *http.Client, url func(node, path string) string) Sender {
	_, path, _ := strings.Cut(Path, " ")
	return func(ctx context.Context, leader string, beat Beat) (answer Answer, err error) {
		body, err := json.Marshal(beat)
		if err != nil {
			return answer, fmt.Errorf("encode a heartbeat: %w", err)
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url(leader, path), bytes.NewReader(body))
		if err != nil {
			return answer, err
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := client.Do(request)
		if err != nil {
			return answer, err
		}
		defer response.Body.Close() //nolint:errcheck // it has been read
		data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		if err != nil {
			return answer, fmt.Errorf("answer of %s: %w", leader, err)
		}
		if response.StatusCode != http.StatusOK {
			return answer, fmt.Errorf("node %s refuses the heartbeat: %s", leader, strings.TrimSpace(string(data)))
		}
		if err := json.Unmarshal(data, &answer); err != nil {
			return answer, fmt.Errorf("answer of %s: %w", leader, err)
		}
		return answer, nil
	}
}

// Local sends beats to server where the leader is server's own node, and by next everywhere else; nil: to
// nobody else.
func Local(server *Server, next Sender) Sender {
	return func(ctx context.Context, leader string, beat Beat) (Answer, error) {
		switch {
		case leader == server.Node:
			return server.Take(beat)
		case next == nil:
			return Answer{}, fmt.Errorf("node %s cannot be reached from %s", leader, server.Node)
		}
		return next(ctx, leader, beat)
	}
}
