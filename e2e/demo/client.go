package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

// patience is how long the story waits for anything that should happen in seconds.
const patience = 45 * time.Second

// instar runs the command-line client as an operator would, shows what it prints, and returns its exit code.
func (s *stage) instar(ctx context.Context, args ...string) (int, error) {
	s.say("$ instar %s", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, s.node.Binary("instar"), args...)
	cmd.Env = s.node.Environment()
	cmd.Dir = s.repository
	reader, writer := io.Pipe()
	cmd.Stdout, cmd.Stderr = writer, writer
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			fmt.Printf("         | %s\n", lines.Text())
		}
	}()
	err := cmd.Run()
	_ = writer.Close()
	<-shown
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// must is instar for commands that have to succeed.
func (s *stage) must(ctx context.Context, args ...string) error {
	code, err := s.instar(ctx, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("instar %s: exit code %d", args[0], code)
	}
	return err
}

// apply declares the shop with the given variables.
func (s *stage) apply(ctx context.Context, variables ...string) (int, error) {
	args := []string{"apply", "-yes", "examples/shop/shop.hcl", "-var", "listen=" + s.shop, "-var", "bake=3s"}
	for _, v := range variables {
		if strings.HasPrefix(v, "-") {
			args = append(args, v)
			continue
		}
		args = append(args, "-var", v)
	}
	return s.instar(ctx, args...)
}

// deploy is apply for revisions that have to win.
func (s *stage) deploy(ctx context.Context, variables ...string) error {
	code, err := s.apply(ctx, variables...)
	if err == nil && code != 0 {
		err = fmt.Errorf("the rollout did not succeed: exit code %d", code)
	}
	return err
}

// refuse is apply for revisions that must not win.
func (s *stage) refuse(ctx context.Context, variables ...string) error {
	before, err := s.service(ctx)
	if err != nil {
		return err
	}
	code, err := s.apply(ctx, variables...)
	if err != nil {
		return err
	}
	if code != 1 {
		return fmt.Errorf("exit code %d after a bad revision, want 1", code)
	}
	after, err := s.service(ctx)
	if err != nil {
		return err
	}
	if after.Service.Active != before.Service.Active {
		return fmt.Errorf("revision %d has the traffic, want %d as before", after.Service.Active, before.Service.Active)
	}
	s.say("customers are with revision %d, as before", after.Service.Active)
	return nil
}

func (s *stage) service(ctx context.Context) (core.ServiceView, error) {
	return s.node.API.Service(ctx, "shop", 0)
}

// active returns the running instances of the active revision by id.
func (s *stage) active(ctx context.Context) (map[string]core.InstanceView, error) {
	service, err := s.service(ctx)
	if err != nil {
		return nil, err
	}
	page, err := s.node.API.Instances(ctx, client.List{Service: "shop", Limit: 1000})
	if err != nil {
		return nil, err
	}
	found := map[string]core.InstanceView{}
	for _, v := range page.Items {
		if v.Instance.Revision == service.Service.Active && v.Instance.Desired == core.DesiredRun && v.Status != nil && v.Status.Healthy {
			found[v.Instance.ID] = v
		}
	}
	return found, nil
}

// pid asks an instance itself, past the proxy, for its process id.
func pid(ctx context.Context, v core.InstanceView) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+v.Status.Addresses["http"]+"/api/identity", nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	var identity struct {
		Instance string
		Pid      int
	}
	if err := json.NewDecoder(res.Body).Decode(&identity); err != nil {
		return 0, err
	}
	if identity.Instance != v.Instance.ID {
		return 0, fmt.Errorf("at %s's address answers %s", v.Instance.ID, identity.Instance)
	}
	return identity.Pid, nil
}

// await polls until the condition holds.
func await(ctx context.Context, what string, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := condition()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %s: %w", what, patience, errors.Join(err, ctx.Err()))
		case <-tick.C:
		}
	}
}
