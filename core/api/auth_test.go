package api_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/instarhq/instar/core"
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

// accessTable is the table as docs/security.md has it: operations with the same roles in one row.
func accessTable() string {
	order := []core.AccessRole{core.AccessAdmin, core.AccessOperator, core.AccessDeployer, core.AccessAuditor, core.AccessViewer}
	rows := map[string][]string{}
	for operation, roles := range api.Rules() {
		cells := ""
		for _, role := range order {
			mark := " "
			if slices.Contains(roles, role) || roles == nil {
				mark = "✓"
			}
			cells += " " + mark + " |"
		}
		if roles == nil {
			cells += " nobody needs to be known |"
		} else {
			cells += " |"
		}
		rows[cells] = append(rows[cells], operation)
	}
	var lines []string
	for cells, operations := range rows {
		slices.Sort(operations)
		lines = append(lines, cells+" "+strings.Join(operations, ", ")+" |")
	}
	slices.Sort(lines)
	slices.Reverse(lines)
	return "| admin | operator | deployer | auditor | viewer | | operations |\n|---|---|---|---|---|---|---|\n|" + strings.Join(lines, "\n|") + "\n"
}

// The table for people is the one in the code; -update writes it anew.
func TestAccessTableIsDocumented(t *testing.T) {
	const begin, end = "<!-- access table: begin, from core/api/auth_table.go -->\n", "<!-- access table: end -->"
	path := filepath.Join("..", "..", "docs", "security.md")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(data), begin)
	have, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the table", path)
	}
	want := accessTable()
	if have == want {
		return
	}
	if !*update {
		t.Fatalf("%s does not have the table of the code; run: make generate", path)
	}
	if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil { //nolint:gosec // a document for everybody
		t.Fatal(err)
	}
}
