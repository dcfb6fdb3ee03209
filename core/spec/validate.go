package spec

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/instarhq/instar/core"
)

// Validate checks a Set that came over the API, trusting nothing in it: every bound that Evaluate
// checks, the digests of configs, and the drivers' configuration against their schemas. Normalise the
// services first, or let Admit do all of it. The error is CodeInvalid and names every fault.
func Validate(set core.Set, schemas Schemas) error {
	faults := checkSet(set)
	for i := range set.Services {
		faults = append(faults, conformService(&set.Services[i], schemas, false)...)
	}
	return faultsError(faults)
}

// Admit is what a server does with a Set from the API: it returns a normalised copy with the defaults
// of the drivers filled in, or what Validate says.
func Admit(set core.Set, schemas Schemas) (core.Set, error) {
	out := core.Set{
		Services: sorted(set.Services, func(a, b core.Declared) int { return strings.Compare(a.Name, b.Name) }),
		Configs:  sorted(set.Configs, func(a, b core.Config) int { return strings.Compare(a.Name, b.Name) }),
	}
	for i := range out.Services {
		Normalise(&out.Services[i])
	}
	faults := checkSet(out)
	for i := range out.Services {
		faults = append(faults, conformService(&out.Services[i], schemas, true)...)
	}
	if err := faultsError(faults); err != nil {
		return core.Set{}, err
	}
	return out, nil
}

// conformService checks the configuration of all drivers of a service; with fill it is replaced by the
// canonical one with its defaults.
func conformService(d *core.Declared, schemas Schemas, fill bool) []fault {
	c := conformer{schemas: schemas}
	config := c.conform(core.DriverCompute, d.Spec.Compute.Driver, d.Spec.Compute.Config, pathOf("service", d.Name, "compute"))
	if fill && config != nil {
		d.Spec.Compute.Config = config
	}
	for i := range d.Spec.Routes {
		r := &d.Spec.Routes[i]
		config := c.conform(core.DriverTraffic, r.Driver, r.Config, pathOf("service", d.Name, "route", r.Name))
		if fill && config != nil {
			r.Config = config
		}
	}
	return c.faults
}

type conformer struct {
	schemas Schemas
	faults  []fault
}

// conform returns the canonical configuration, or nil if there is a fault.
func (c *conformer) conform(kind core.DriverKind, name string, config []byte, at []string) []byte {
	var driver core.Driver
	ok := false
	if c.schemas != nil {
		driver, ok = c.schemas.Driver(kind, name)
	}
	if !ok {
		text := fmt.Sprintf("No node has published a %s driver named %q.", kind, name)
		if c.schemas != nil {
			text = unknownDriver(c.schemas, kind, name)
		}
		c.faults = append(c.faults, fault{below(at, "driver"), "Unknown driver", text})
		return nil
	}
	before := len(c.faults)
	if len(config) == 0 {
		config = []byte("{}")
	}
	out := conformObject(config, driver.Workload, func(attribute, text string) {
		where := below(at, "config")
		if attribute != "" {
			where = below(where, attribute)
		}
		c.faults = append(c.faults, fault{where, "Invalid driver configuration", text})
	})
	if len(c.faults) > before {
		return nil
	}
	return bytes.Clone(out)
}

// shownFaults is how many faults an error spells out.
const shownFaults = 5

func faultsError(faults []fault) error {
	if len(faults) == 0 {
		return nil
	}
	var b strings.Builder
	for i, f := range faults {
		if i == shownFaults {
			fmt.Fprintf(&b, " (and %d more)", len(faults)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		if where := f.where(); where != "" {
			b.WriteString(where + ": ")
		}
		b.WriteString(strings.TrimSuffix(f.detail, "."))
	}
	return core.Errorf(core.CodeInvalid, "%s", b.String())
}
