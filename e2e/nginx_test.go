package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/e2e/judge"
	"github.com/instarhq/instar/e2e/load"
)

// TestNginxConfigurationIsReplaced: a third-party server gets a new configuration, twice, and its customers
// see one or the other, and nothing else.
func TestNginxConfigurationIsReplaced(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	apply := func(greeting string) {
		t.Helper()
		c.must("apply", "-yes", "testdata/nginx.hcl", "-var", "listen="+c.listen, "-var", "greeting="+greeting)
	}
	apply("one")
	welcome := func(e load.Exchange) error {
		if !bytes.HasPrefix(e.Body, []byte("welcome: ")) {
			return fmt.Errorf("not a welcome: %.80q", e.Body)
		}
		return nil
	}
	large := func(e load.Exchange) error {
		if len(e.Body) != 300_000 {
			return fmt.Errorf("%d bytes of the file, want 300000", len(e.Body))
		}
		return nil
	}
	customers, err := load.Start(t.Context(), load.Config{
		Target: c.listen, RevisionHeader: load.ShopRevisionHeader, Streams: []load.Stream{
			{Kind: load.KeepAlive, Rate: 60, Users: 8, Path: "/", Check: welcome},
			{Kind: load.KeepAlive, Rate: 10, Users: 2, Path: "/large/file", Check: large},
			{Kind: load.Fresh, Rate: 30, Path: "/", Check: welcome},
			{Kind: load.HTTP2, Rate: 30, Users: 2, Path: "/", Check: welcome},
			{Kind: load.Post, Rate: 20, Path: "/", Check: welcome, Pace: 50 * time.Millisecond, Body: func(n int) []byte {
				return bytes.Repeat([]byte("order "), 1+n%1000)
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { customers.Stop() })
	for _, greeting := range []string{"two", "three"} {
		apply(greeting)
		if page := fetch(t, "http://"+c.listen+"/"); !strings.Contains(page, "welcome: "+greeting) {
			t.Errorf("after the new configuration: %s", page)
		}
	}
	result := customers.Stop()
	switches, err := judge.Switches(c.records(), "nginx")
	if err != nil {
		t.Fatal(err)
	}
	if len(switches) != 3 {
		t.Errorf("%d switches, want 3", len(switches))
	}
	for _, line := range result.Failures(10) {
		t.Errorf("failed: %s", line)
	}
	if wrong := result.WrongRevision(judge.Timeline(switches)); len(wrong) > 0 {
		t.Errorf("%d answers of a wrong revision, the first: %s", len(wrong), wrong[0])
	}
	if len(result.Records) < 200 {
		t.Errorf("%d requests only", len(result.Records))
	}
	c.hold(judge.All)
}
