package api_test

import (
	"encoding/json"
	"testing"

	"github.com/instarhq/instar/core/api"
)

// operations are the ids of all operations of the OpenAPI document.
func operations(t *testing.T) map[string]string {
	t.Helper()
	data, err := api.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]struct {
			ID string `json:"operationId"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for path, methods := range document.Paths {
		for method, operation := range methods {
			out[operation.ID] = method + " " + path
		}
	}
	return out
}

// Whoever adds an operation says who may call it.
func TestEveryOperationHasARule(t *testing.T) {
	all := operations(t)
	if len(all) < 30 {
		t.Fatalf("the document has %d operations only", len(all))
	}
	for id, where := range all {
		if !api.HasRule(id) {
			t.Errorf("auth_table.go does not say who may call %s (%s): it is refused to everybody", id, where)
		}
	}
}
