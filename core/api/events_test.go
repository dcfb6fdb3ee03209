package api_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/instarhq/instar/core/api/apitest"
	"github.com/instarhq/instar/core/api/client"
	"github.com/instarhq/instar/core/state"
)

// messages reads events until there are no more, or n.
func messages(t *testing.T, f *apitest.Fixture, e client.Events, n int) (out []string, last uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for one, err := range f.Notices(ctx, e) {
		if err != nil {
			t.Fatalf("after %v: %v", out, err)
		}
		if out, last = append(out, one.Message), one.Seq; len(out) == n {
			break
		}
	}
	return out, last
}

func scaleTo(t *testing.T, f *apitest.Fixture, service string, count int) {
	t.Helper()
	f.Put(t, func(tx *state.Tx) {
		svc, _ := state.Services.Get(tx, service)
		svc.Format, svc.Name, svc.Count = 1, service, count
		state.Services.Put(tx, service, svc)
	})
}

func TestEventsResume(t *testing.T) {
	f := apitest.New(t)
	scaleTo(t, f, "shop", 1)
	scaleTo(t, f, "other", 1)
	scaleTo(t, f, "shop", 2)
	all, _ := messages(t, f, client.Events{FromStart: true}, 9)
	want := []string{"service shop is new, with 1 wanted instances", "service other is new, with 1 wanted instances", "service shop is scaled from 1 to 2 instances"}
	if !slices.Equal(all, want) {
		t.Fatalf("from the start: %q", all)
	}
	first, seq := messages(t, f, client.Events{FromStart: true, Follow: true}, 1)
	rest, _ := messages(t, f, client.Events{After: seq, Follow: true}, 2)
	if !slices.Equal(append(first, rest...), want) {
		t.Errorf("resumed: %q, then %q", first, rest)
	}
	if only, _ := messages(t, f, client.Events{FromStart: true, Service: "shop"}, 9); !slices.Equal(only, []string{want[0], want[2]}) {
		t.Errorf("of shop: %q", only)
	}
	if recent, _ := messages(t, f, client.Events{Since: time.Hour}, 9); !slices.Equal(recent, want) {
		t.Errorf("of the last hour: %q", recent)
	}
	if now, _ := messages(t, f, client.Events{}, 9); len(now) != 0 {
		t.Errorf("of now: %q", now)
	}
}

func TestEventsFollow(t *testing.T) {
	f := apitest.New(t)
	scaleTo(t, f, "shop", 1)
	got := make(chan string)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go func() {
		defer close(got)
		for n, err := range f.Notices(ctx, client.Events{Since: time.Hour, Follow: true}) {
			if err != nil {
				return
			}
			got <- n.Message
		}
	}()
	if m := <-got; m != "service shop is new, with 1 wanted instances" {
		t.Fatal(m)
	}
	scaleTo(t, f, "shop", 4)
	if m := <-got; m != "service shop is scaled from 1 to 4 instances" {
		t.Fatal(m)
	}
	cancel()
	for range got {
	}
}

func TestEventsSince(t *testing.T) {
	f := apitest.New(t)
	resp, err := http.Get(f.URL + "/v1/events?since=yesterday")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("status %s", resp.Status)
	}
	for n, err := range f.Notices(t.Context(), client.Events{Since: time.Nanosecond}) {
		t.Errorf("an event of the last nanosecond: %+v, %v", n, err)
	}
}
