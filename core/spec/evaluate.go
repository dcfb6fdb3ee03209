package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/instarhq/instar/core"
)

// Options say what a set is evaluated with.
type Options struct {
	Variables map[string]string // from the command line
	VarFiles  []string          // files of NAME = value, or JSON objects if the name ends in .json; later ones win
	Environ   []string          // "KEY=value"; only INSTAR_VAR_NAME matters
	// Schemas gives the drivers' schemas. Nil leaves the drivers' blocks unchecked and without
	// defaults: for looking at a set without a cluster, never for applying it.
	Schemas Schemas
}

// maxErrors is when Evaluate gives up: more would hide the first ones.
const maxErrors = 100

// maxBlocks bounds the services, configs and variables of a set.
const maxBlocks = 10000

var rootSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "variable", LabelNames: []string{"name"}},
	{Type: "locals"},
	{Type: "config", LabelNames: []string{"name"}},
	{Type: "service", LabelNames: []string{"name"}},
}}

// evaluation is the state of one Evaluate.
type evaluation struct {
	sources   *Sources
	schemas   Schemas
	scope     *scope
	diags     hcl.Diagnostics
	variables map[string]*variable
	locals    map[string]*hcl.Attribute
	digests   map[string]core.Digest // of the configs, by name
	places    places
	set       core.Set
}

// Evaluate gives what the files declare with these variables: normalised and checked, services and
// configs sorted by name. The Set is empty if there are errors; warnings may come with a good one.
func (s *Sources) Evaluate(opts Options) (core.Set, hcl.Diagnostics) {
	e := &evaluation{
		sources: s, schemas: opts.Schemas, scope: newScope(s),
		variables: map[string]*variable{}, locals: map[string]*hcl.Attribute{}, digests: map[string]core.Digest{}, places: places{},
	}
	blocks := e.collect()
	if e.diags.HasErrors() {
		return core.Set{}, e.diags
	}
	e.evaluate(opts, blocks)
	e.sortDiagnostics()
	if e.diags.HasErrors() {
		return core.Set{}, e.diags
	}
	return e.set, e.diags
}

func (e *evaluation) evaluate(opts Options, blocks []*hcl.Block) {
	e.setVariables(opts)
	e.resolveLocals()
	for _, block := range blocks {
		if e.tooManyErrors() {
			break
		}
		switch block.Type {
		case "config":
			e.config(block)
		case "service":
			e.service(block)
		}
	}
	if !e.diags.HasErrors() {
		e.finish()
	}
}

// sortDiagnostics brings diagnostics into the order of the files, and of the places within each.
func (e *evaluation) sortDiagnostics() {
	order := map[string]int{}
	for i, src := range e.sources.order {
		order[src.name] = i + 1
	}
	slices.SortStableFunc(e.diags, func(a, b *hcl.Diagnostic) int {
		if a.Subject == nil || b.Subject == nil {
			return cmp.Compare(placed(a), placed(b))
		}
		return cmp.Or(
			cmp.Compare(order[a.Subject.Filename], order[b.Subject.Filename]),
			cmp.Compare(a.Subject.Start.Byte, b.Subject.Start.Byte),
		)
	})
}

func placed(d *hcl.Diagnostic) int {
	if d.Subject == nil {
		return 0
	}
	return 1
}

// collect parses the files once more, as evaluation changes the syntax trees, and returns the blocks
// that make objects: configs first, since services refer to them.
func (e *evaluation) collect() []*hcl.Block {
	var configs, services []*hcl.Block
	count := 0
	for _, src := range e.sources.order {
		file, diags := Parse(src.data, src.name)
		e.add(diags)
		if diags.HasErrors() {
			continue // the rest of such a file is not what it seems
		}
		content, diags := file.Body.Content(rootSchema)
		e.add(diags)
		for _, block := range content.Blocks {
			if count++; count > maxBlocks {
				e.addError("Too many blocks", fmt.Sprintf("A set has at most %d blocks.", maxBlocks), block.DefRange)
				return nil
			}
			switch block.Type {
			case "variable":
				e.declare(block)
			case "locals":
				e.collectLocals(block)
			case "config":
				configs = append(configs, block)
			case "service":
				services = append(services, block)
			}
		}
	}
	return append(configs, services...)
}

func (e *evaluation) declare(block *hcl.Block) {
	v, diags := declareVariable(block)
	e.add(diags)
	if first, twice := e.variables[v.name]; twice {
		e.duplicate("variable", v.name, block.DefRange, first.rng)
		return
	}
	e.variables[v.name] = v
}

func (e *evaluation) collectLocals(block *hcl.Block) {
	attributes, diags := block.Body.JustAttributes()
	e.add(diags)
	for _, name := range keysOf(attributes) {
		if first, twice := e.locals[name]; twice {
			e.duplicate("local value", name, attributes[name].NameRange, first.NameRange)
			continue
		}
		e.locals[name] = attributes[name]
	}
}

// finish normalises the set and checks it as a server will.
func (e *evaluation) finish() {
	for i := range e.set.Services {
		Normalise(&e.set.Services[i])
	}
	slices.SortFunc(e.set.Services, func(a, b core.Declared) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(e.set.Configs, func(a, b core.Config) int { return strings.Compare(a.Name, b.Name) })
	for _, f := range checkSet(e.set) {
		e.diags = append(e.diags, e.places.diagnostic(f))
	}
	e.warn()
}

func (e *evaluation) add(diags hcl.Diagnostics) { e.diags = append(e.diags, diags...) }

func (e *evaluation) addError(summary, detail string, rng hcl.Range) {
	e.diags = append(e.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: rng.Ptr()})
}

func (e *evaluation) addWarning(summary, detail string, rng hcl.Range) {
	e.diags = append(e.diags, &hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: summary, Detail: detail, Subject: rng.Ptr()})
}

func (e *evaluation) duplicate(what, name string, again, first hcl.Range) {
	e.addError("Declared twice", fmt.Sprintf("The %s %q is already declared at %s.", what, name, position(first)), again)
}

func (e *evaluation) tooManyErrors() bool {
	return len(e.diags) > maxErrors && e.diags.HasErrors()
}

func position(rng hcl.Range) string { return fmt.Sprintf("%s:%d", rng.Filename, rng.Start.Line) }

// warn points at what is allowed and seldom meant.
func (e *evaluation) warn() {
	for i := range e.set.Services {
		d := &e.set.Services[i]
		if len(d.Spec.Routes) > 0 && len(d.Spec.Health) == 0 {
			rng, _ := e.places.find(pathOf("service", d.Name))
			e.addWarning("No health check", fmt.Sprintf(
				"The service %q gets traffic and has no health check: an instance counts as healthy when it has run for a few seconds. Add health \"http\" { … }.",
				d.Name), rng)
		}
	}
}
