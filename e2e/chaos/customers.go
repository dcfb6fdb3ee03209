package chaos

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/instarhq/instar/e2e/lab"
)

// A customer asks each host's proxy this often, on a kept and on a fresh connection in turn.
const askEvery = 60 * time.Millisecond

// complaint is a request that failed.
type complaint struct {
	at   time.Time
	host int
	why  string
}

// customers ask every host's proxy and remember what failed.
type customers struct {
	lab *lab.Lab

	mu         sync.Mutex
	asked      int
	complaints []complaint
}

func (c *customers) run(ctx context.Context, host int) {
	kept := &http.Client{Transport: &http.Transport{DialContext: c.lab.Dial, MaxIdleConnsPerHost: 2}, Timeout: 10 * time.Second}
	fresh := &http.Client{Transport: &http.Transport{DialContext: c.lab.Dial, DisableKeepAlives: true}, Timeout: 10 * time.Second}
	defer kept.CloseIdleConnections()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		client := kept
		if n%2 == 1 {
			client = fresh
		}
		began := time.Now()
		err := ask(ctx, client, "http://"+c.lab.Address(host)+":8080/api/products")
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		c.asked++
		if err != nil {
			c.complaints = append(c.complaints, complaint{began, host, err.Error()})
		}
		c.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func ask(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close() // it has been read
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", resp.Status)
	}
	return nil
}

// window is a time in which customers may notice something.
type window struct{ from, to time.Time }

// unexcused are the complaints outside of all windows. One within a request's timeout before a window may be about it.
func (c *customers) unexcused(windows []window) []complaint {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []complaint
	for _, complaint := range c.complaints {
		excused := false
		for _, w := range windows {
			excused = excused || complaint.at.After(w.from.Add(-10*time.Second)) && complaint.at.Before(w.to)
		}
		if !excused {
			out = append(out, complaint)
		}
	}
	return out
}
