package spec

import (
	"encoding/base64"
	"fmt"

	"github.com/hashicorp/hcl/v2"

	"github.com/instarhq/instar/core"
)

var configSchema = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "data"}, {Name: "data_base64"}}}

// config reads a config block into the set.
func (e *evaluation) config(block *hcl.Block) {
	name := block.Labels[0]
	if first, twice := e.places.exact(pathOf("config", name)); twice {
		e.duplicate("config", name, block.DefRange, first)
		return
	}
	f := e.read(block, configSchema, "config", name)
	e.places.put(block.LabelRanges[0], "config", name, "name")
	if f.given("data") == f.given("data_base64") {
		f.require("data", `A config has its content in either data, for text, or data_base64, for anything else: data_base64 = filebase64("…").`)
		return
	}
	data := []byte(f.text("data", ""))
	if v, rng, ok := f.value("data_base64", stringType); ok {
		var err error
		if data, err = base64.StdEncoding.DecodeString(v.AsString()); err != nil {
			f.addError("Not base64", `The value of "data_base64" is not standard base64 (RFC 4648, with padding).`, rng)
		}
	}
	digest := core.DigestBytes(data)
	e.digests[name] = digest
	e.set.Configs = append(e.set.Configs, core.Config{Format: core.Format, Name: name, Digest: digest, Data: data})
}

func unknownConfig(digests map[string]core.Digest, name string) string {
	return fmt.Sprintf("The set has no config %q.%s", name, suggest(name, keysOf(digests)))
}
