package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/google/uuid"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/e2e/node"
)

const (
	keys = 5
	// tryLimit is what one attempt at an operation gets. It is repeated with its request id, which makes it happen
	// once, for opLimit; one that takes longer may have happened or not.
	tryLimit = 5 * time.Second
	opLimit  = time.Minute
	// opPause paces a client.
	opPause = 40 * time.Millisecond
)

// verb is an operation on a register. Registers are checkpoints: they are made, read and deleted.
type verb int

const (
	create verb = iota
	remove
	read
)

type input struct {
	verb  verb
	key   string
	value string // of create
}

type output struct {
	ok      bool // false: refused, because it exists, or does not
	unknown bool
	value   string // of read
}

// model is a register per key that is either free or has a value.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := map[string][]porcupine.Operation{}
		for _, o := range history {
			key := o.Input.(input).key
			parts[key] = append(parts[key], o)
		}
		var out [][]porcupine.Operation
		for _, p := range parts {
			out = append(out, p)
		}
		return out
	},
	Init: func() any { return "" },
	Step: func(state, in, out any) (bool, any) {
		now, i, o := state.(string), in.(input), out.(output)
		switch i.verb {
		case create:
			if now != "" {
				return o.unknown || !o.ok, now
			}
			return o.unknown || o.ok, i.value
		case remove:
			return o.unknown || o.ok == (now != ""), ""
		default:
			return o.value == now, now
		}
	},
	DescribeOperation: func(in, out any) string {
		i, o := in.(input), out.(output)
		name := [...]string{"create", "delete", "read"}[i.verb]
		switch {
		case o.unknown:
			return fmt.Sprintf("%s(%s %s) ?", name, i.key, i.value)
		case i.verb == read:
			return fmt.Sprintf("read(%s) = %q", i.key, o.value)
		}
		return fmt.Sprintf("%s(%s %s) %v", name, i.key, i.value, o.ok)
	},
}

// history is what the clients did, and what they were told.
type history struct {
	began time.Time

	mu         sync.Mutex
	operations []porcupine.Operation
	receipts   []core.Receipt
}

func (h *history) now() int64 { return time.Since(h.began).Nanoseconds() }

func (h *history) add(o porcupine.Operation, receipt core.Receipt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations = append(h.operations, o)
	if receipt.Seq != 0 {
		h.receipts = append(h.receipts, receipt)
	}
}

// run is one client, which speaks to one node, until ctx ends.
func (h *history) run(ctx context.Context, id int, n *node.Node, random *rand.Rand) {
	reader := registers(n.Address)
	for serial := 0; ctx.Err() == nil; serial++ {
		in := input{verb: verb(random.IntN(3)), key: fmt.Sprintf("register-%d", random.IntN(keys)), value: fmt.Sprintf("%d.%d", id, serial)}
		o := porcupine.Operation{ClientId: id, Input: in, Call: h.now()}
		out, receipt := h.do(ctx, n.API, reader, in)
		o.Return, o.Output = h.now(), out
		if out.unknown {
			o.Return = 1 << 62 // it may happen at any time from now on
			id += 1000         // and this client is busy with it for ever
		}
		if !out.unknown || in.verb != read {
			h.add(o, receipt)
		}
		select {
		case <-time.After(opPause):
		case <-ctx.Done():
		}
	}
}

func (h *history) do(ctx context.Context, api *client.Client, reader func(context.Context, string) (string, error), in input) (output, core.Receipt) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), opLimit)
	defer cancel()
	id := uuid.NewString()
	for ctx.Err() == nil {
		out, receipt := once(ctx, api, reader, in, id)
		if !out.unknown || in.verb == read {
			return out, receipt
		}
		select {
		case <-time.After(opPause):
		case <-ctx.Done():
		}
	}
	return output{unknown: true}, core.Receipt{}
}

func once(ctx context.Context, api *client.Client, reader func(context.Context, string) (string, error), in input, id string) (output, core.Receipt) {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	var receipt core.Receipt
	var err error
	switch in.verb {
	case create:
		receipt, err = api.CreateCheckpoint(ctx, client.Write{RequestID: id, Reason: in.value}, in.key, core.Point{Seq: 1})
	case remove:
		receipt, err = api.DeleteCheckpoint(ctx, client.Write{RequestID: id}, in.key)
	case read:
		value, err := reader(ctx, in.key)
		return output{ok: true, unknown: err != nil, value: value}, receipt
	}
	switch {
	case err == nil:
		return output{ok: true}, receipt
	case in.verb == create && core.CodeOf(err) == core.CodeConflict, in.verb == remove && core.IsNotFound(err):
		return output{}, receipt
	}
	return output{unknown: true}, receipt
}

// registers reads a register with a consistent read.
func registers(address string) func(ctx context.Context, key string) (string, error) {
	socket := address[len("unix://"):]
	http1 := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	return func(ctx context.Context, key string) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://instard/v1/checkpoints?consistent=true&limit=100", nil)
		if err != nil {
			return "", err
		}
		resp, err := http1.Do(req)
		if err != nil {
			return "", err
		}
		defer func() { _ = resp.Body.Close() }() // it has been read
		if resp.StatusCode != http.StatusOK {
			return "", fmt.Errorf("%s", resp.Status)
		}
		var page core.Page[core.Checkpoint]
		if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
			return "", err
		}
		for _, c := range page.Items {
			if c.Name == key {
				return c.Reason, nil
			}
		}
		return "", nil
	}
}
