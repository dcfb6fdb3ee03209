package spec

import (
	"fmt"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/instarhq/instar/core"
)

var (
	rolloutSchema = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{
		{Name: "strategy"},
		{Name: "bake"},
		{Name: "keep_previous"},
		{Name: "progress_deadline"},
		{Name: "max_error_rate"},
		{Name: "max_surge"},
		{Name: "max_unavailable"},
	}}
	smokeSchema = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{
		{Name: "route"}, {Name: "method"}, {Name: "path"}, {Name: "status"}, {Name: "contains"}, {Name: "timeout"},
	}}
)

func (s *serviceDecoder) rollout() {
	block := s.one("rollout")
	r := &s.spec.Rollout
	if block == nil {
		*r = defaultRollout()
		return
	}
	plain := *block
	smokes, rest := takeBlocks(block.Body, "smoke")
	plain.Body = rest
	f := s.read(&plain, rolloutSchema, s.at("rollout")...)
	r.Strategy = core.Strategy(f.text("strategy", string(core.StrategyBlueGreen)))
	r.Bake = f.duration("bake", defaultBake, true)
	keep := defaultKeep
	if r.Strategy == core.StrategyRolling {
		keep = 0 // nothing is left to keep
	}
	r.KeepPrevious = f.duration("keep_previous", keep, true)
	r.ProgressDeadline = f.duration("progress_deadline", defaultProgress, false)
	r.MaxErrorRate = f.share("max_error_rate")
	r.MaxSurge, r.MaxUnavailable = core.Bound(f.text("max_surge", "")), core.Bound(f.text("max_unavailable", ""))
	for i, smoke := range smokes {
		if len(smoke.Labels) > 1 {
			s.addError("Extraneous label", "A smoke block has at most one label, a name for whoever reads it.", smoke.LabelRanges[1])
			continue
		}
		s.smoke(i, smoke.AsHCLBlock())
	}
}

func (s *serviceDecoder) smoke(i int, block *hcl.Block) {
	f := s.read(block, smokeSchema, s.at("rollout", "smoke", strconv.Itoa(i))...)
	route := s.routeOf(f)
	s.spec.Rollout.Smoke = append(s.spec.Rollout.Smoke, core.SmokeCheck{
		Route:    route,
		Method:   f.text("method", defaultMethod),
		Path:     f.text("path", s.firstPath(route)),
		Status:   f.integers("status"),
		Contains: f.text("contains", ""),
		Timeout:  f.duration("timeout", defaultSmokeTimeout, false),
	})
}

// firstPath is the shortest path that the route takes.
func (s *serviceDecoder) firstPath(route string) string {
	for _, r := range s.spec.Routes {
		if r.Name == route && r.Path != "" {
			return r.Path
		}
	}
	return defaultPath
}

// routeOf reads the attribute route, which a service with one route may leave out.
func (s *serviceDecoder) routeOf(f *fields) string {
	if f.given("route") {
		return f.text("route", "")
	}
	known := make([]string, 0, len(s.spec.Routes))
	for _, r := range s.spec.Routes {
		known = append(known, r.Name)
	}
	if len(known) == 1 {
		return known[0]
	}
	advice := "A smoke check goes through a route, and the service has none."
	if len(known) > 1 {
		advice = fmt.Sprintf("The service has several routes: %s. Say which one is meant with route = …", names(known))
	}
	f.require("route", advice)
	return ""
}

// takeBlocks splits the blocks of one type off a body, with any number of labels: HCL's own schemas
// know fixed numbers only.
func takeBlocks(body hcl.Body, typ string) ([]*hclsyntax.Block, hcl.Body) {
	whole, ok := body.(*hclsyntax.Body)
	if !ok {
		return nil, body
	}
	var taken []*hclsyntax.Block
	rest := *whole
	rest.Blocks = nil
	for _, block := range whole.Blocks {
		if block.Type == typ {
			taken = append(taken, block)
		} else {
			rest.Blocks = append(rest.Blocks, block)
		}
	}
	return taken, &rest
}
