package main

import (
	"strings"
	"testing"
)

func TestFlagsFirst(t *testing.T) {
	app := newApp(newUI(strings.NewReader(""), &strings.Builder{}, &strings.Builder{}))
	for in, want := range map[string]string{
		"instar apply shop.hcl -var version=2":         "instar apply -var version=2 shop.hcl",
		"instar apply shop.hcl -yes other.hcl":         "instar apply -yes shop.hcl other.hcl",
		"instar -o json service show shop -at 3":       "instar -o json service show -at 3 shop",
		"instar service show shop -o=yaml":             "instar service show -o=yaml shop",
		"instar logs shop -f -tail 5":                  "instar logs -f -tail 5 shop",
		"instar logs -- -f":                            "instar logs -- -f",
		"instar audit prove 7 -file log -key k":        "instar audit prove -file log -key k 7",
		"instar --address http://x status":             "instar --address http://x status",
		"instar apply shop.hcl -var":                   "instar apply -var shop.hcl",
		"instar rollout list shop -unknown":            "instar rollout list -unknown shop",
		"instar apply - -var-file x":                   "instar apply -var-file x -",
		"instar service scale shop 3 --reason because": "instar service scale --reason because shop 3",
	} {
		if got := strings.Join(flagsFirst(app, strings.Fields(in)), " "); got != want {
			t.Errorf("%s\nbecomes %s\nwant    %s", in, got, want)
		}
	}
}
