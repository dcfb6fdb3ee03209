package spec_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/instarhq/instar/core/spec"
)

// patience is how long any of these may take, also with the race detector on a busy machine.
const patience = 60 * time.Second

// TestHostileInput: what would take for ever, or all memory, is refused in a moment.
func TestHostileInput(t *testing.T) {
	doubling := func(first, next string) string {
		var b strings.Builder
		fmt.Fprintf(&b, "locals {\n a0 = %s\n", first)
		for i := 1; i < 64; i++ {
			fmt.Fprintf(&b, " a%d = %s\n", i, strings.ReplaceAll(next, "@", fmt.Sprintf("local.a%d", i-1)))
		}
		return b.String() + "}\n"
	}
	var chain strings.Builder
	chain.WriteString("locals {\n a0 = 1\n")
	for i := 1; i < 6000; i++ {
		fmt.Fprintf(&chain, " a%d = [local.a%d]\n", i, i-1)
	}
	loop := func(body string) string {
		return "locals {\n r = range(1024)\n x = " + strings.ReplaceAll(body, "FOR", "for i in local.r :") + "\n}\n"
	}
	for name, c := range map[string]struct{ source, want string }{
		"brackets":         {"locals {\n a = " + strings.Repeat("[", 1<<17), "Nested too deeply"},
		"braces":           {strings.Repeat("a {\n", 1<<17), "Nested too deeply"},
		"parentheses":      {"locals {\n a = " + strings.Repeat("(", 1<<17), "Nested too deeply"},
		"templates":        {"locals {\n a = " + strings.Repeat(`"${`, 1<<17), "Nested too deeply"},
		"template if":      {"locals {\n a = \"" + strings.Repeat(`%{if true}`, 1<<17) + "\"\n}", "Nested too deeply"},
		"not":              {"locals {\n a = " + strings.Repeat("!", 1<<17) + "true\n}", "Nested too deeply"},
		"minus":            {"locals {\n a = " + strings.Repeat("-", 1<<17) + "1\n}", "Nested too deeply"},
		"sum":              {"locals {\n a = 1" + strings.Repeat("+1", 1<<17) + "\n}", "Nested too deeply"},
		"condition":        {"locals {\n a = " + strings.Repeat("true?1:", 1<<17) + "1\n}", "Nested too deeply"},
		"index":            {"locals {\n a = b" + strings.Repeat("[0]", 1<<17) + "\n}", "Nested too deeply"},
		"splat":            {"locals {\n a = [1]" + strings.Repeat(".*.x", 1<<17) + "\n}", "Nested too deeply"},
		"type":             {"variable \"a\" {\n type = " + strings.Repeat("list(", 1<<17), "Nested too deeply"},
		"long chain":       {chain.String() + "}\n", "Too many local values"},
		"many blocks":      {strings.Repeat("service \"a\" {}\n", 10001), "Too many blocks"},
		"doubled text":     {doubling(`"xxxxxxxx"`, `"${@}${@}"`), "Too much to evaluate"},
		"doubled list":     {doubling(`["x"]`, `[@, @]`), "Too much to evaluate"},
		"doubled object":   {doubling(`{}`, `{ a = @, b = @ }`), "Too much to evaluate"},
		"doubled join":     {doubling(`"xxxxxxxx"`, `join(@, [@, @, @])`), "Too much to evaluate"},
		"doubled replace":  {doubling(`"xxxxxxxx"`, `replace(@, "x", @)`), "oo much"},
		"doubled format":   {doubling(`"xxxxxxxx"`, `format("%s%[1]s%[1]s", @)`), "oo much"},
		"doubled concat":   {doubling(`["xxxxxxxx"]`, `concat(@, @, @)`), "Too much to evaluate"},
		"squared number":   {doubling(`1e300`, `@ * @`), "Number out of range"},
		"huge number":      {"locals {\n a = true ? \"x\" : 1e999999999\n}", "Number out of range"},
		"huge key":         {"locals {\n a = { (1e999999999) = 1 }\n}", "Number out of range"},
		"huge index":       {"locals {\n a = tomap({ x = 1 })[1e999999999]\n}", "Number out of range"},
		"computed index":   {"locals {\n a = tomap({ x = 1 })[1e900 * 1e900]\n}", "Number out of range"},
		"computed key":     {"locals {\n a = { (1e900 * 1e900) = 1 }\n}", "Number out of range"},
		"parsed number":    {"locals {\n a = true ? 1 * \"1e999999\" : \"x\"\n}", "Number out of range"},
		"long number":      {"locals {\n a = 1" + strings.Repeat("0", 2000) + "\n}", "Number out of range"},
		"tiny number":      {"locals {\n a = \"${1e-999999999}\"\n}", "Number out of range"},
		"huge range":       {"locals {\n a = range(1e9)\n}", "more than 1024 values"},
		"loops":            {loop("[FOR [FOR [FOR [FOR 1]]]]"), "Too much to evaluate"},
		"loops in objects": {loop("{FOR i => {FOR i => {FOR i => 1}}}"), "Too much to evaluate"},
		"loops in text":    {loop(`"%{for i in local.r}%{for i in local.r}%{for i in local.r}x%{endfor}%{endfor}%{endfor}"`), "Too much to evaluate"},
		"splats in loops":  {loop("[FOR [FOR local.r[*]]]"), "Too much to evaluate"},
		"wide format":      {"locals {\n a = format(\"%999999999d\", 1)\n}", "at most three digits"},
		"wide formats":     {"locals {\n a = formatlist(\"%-999999999s\", [\"x\"])\n}", "at most three digits"},
		"deep json":        {"locals {\n a = jsondecode(join(\"\", [for i in range(1024) : \"[[[\"]))\n}", "nested deeper than 1000"},
		"huge file":        {"locals {\n a = file(\"huge\")\n}", "at most 1020 KiB are read"},
		"decomposed":       {"locals {\n a = file(\"decomposed\")\n}", "normalisation form C"},
		"binary":           {"locals {\n a = file(\"binary\")\n}", "is not UTF-8 text"},
		"template recurs":  {"locals {\n a = templatefile(\"recursive.tpl\", {})\n}", `There is no function named "templatefile"`},
		"template missing": {"locals {\n a = templatefile(\"vars.tpl\", { nme = 1 })\n}", `vars.tpl:2:4: the template uses "name", which is not among the variables given to it. Did you mean "nme"?`},
		"template syntax":  {"locals {\n a = templatefile(\"syntax.tpl\", {})\n}", "syntax.tpl:1:4"},
		"template deep":    {"locals {\n a = templatefile(\"deep.tpl\", {})\n}", "Nested too deeply"},
		"template loops":   {"locals {\n a = templatefile(\"loops.tpl\", { r = range(1024) })\n}", "too much work"},
		"template fails":   {"locals {\n a = templatefile(\"fails.tpl\", {})\n}", "fails.tpl:1:"},
		"template null":    {"locals {\n a = templatefile(\"null.tpl\", {})\n}", "the template gives no text"},
		"template list":    {"locals {\n a = templatefile(\"list.tpl\", {})\n}", "the template gives a tuple, not text"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, map[string]string{
				"set.hcl": c.source, "huge": strings.Repeat("x", spec.MaxReadBytes+1), "decomposed": "e\u0301", "binary": "\x00\xff",
				"recursive.tpl": `${templatefile("recursive.tpl", {})}`, "vars.tpl": "\n ${name}", "syntax.tpl": "${ ]", "deep.tpl": strings.Repeat("${[", 2000),
				"loops.tpl": "%{for a in r}%{for b in r}%{for c in r}x%{endfor}%{endfor}%{endfor}", "fails.tpl": "${upper([])}", "null.tpl": "${null}", "list.tpl": "${[1]}",
			})
			start := time.Now()
			sources, diags := spec.Load([]string{dir})
			if !diags.HasErrors() {
				sources.LimitWork(4 << 20)
				_, diags = sources.Evaluate(spec.Options{Schemas: testDrivers})
			}
			if took := time.Since(start); took > patience {
				t.Errorf("it took %s", took)
			}
			if got := text(t, diags, sources.Files()); !diags.HasErrors() || !strings.Contains(got, c.want) {
				t.Errorf("got\n%.2000s\nwant %q", got, c.want)
			}
		})
	}
}

// TestHonestInput: the limits leave room for what people really write.
func TestHonestInput(t *testing.T) {
	var b strings.Builder
	b.WriteString("locals {\n ports = { for i in range(200) : \"p${i}\" => 1000 + i }\n text = <<-EOT\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "  line %d is ${join(\"-\", [\"a\", %d])} and %%{if true}more%%{else}less%%{endif}\n", i, i)
	}
	b.WriteString(" EOT\n}\n")
	b.WriteString("config \"big\" {\n data = local.text\n}\n")
	for i := range 50 {
		fmt.Fprintf(&b, "service \"s%d\" {\n count = length(local.ports) %% 7\n compute \"process\" {\n  command = [\"x\", \":${port.http}\"]\n }\n", i)
		fmt.Fprintf(&b, " port \"http\" {}\n env = { for k, v in local.ports : upper(k) => tostring(v) }\n}\n")
	}
	start := time.Now()
	set := evaluate(t, b.String(), spec.Options{})
	if len(set.Services) != 50 || len(set.Services[7].Spec.Env) != 200 {
		t.Errorf("%d services", len(set.Services))
	}
	if took := time.Since(start); took > patience {
		t.Errorf("it took %s", took)
	}
}

// TestDeviceAsFile: the function file cannot hang or read without end.
func TestDeviceAsFile(t *testing.T) {
	for _, path := range []string{"/dev/zero", "/dev/stdin", os.TempDir()} {
		_, sources, diags := tryEvaluate(t, fmt.Sprintf("locals {\n a = file(%q)\n}", path), spec.Options{})
		if got := text(t, diags, sources.Files()); !diags.HasErrors() {
			t.Errorf("%s: got %s", path, got)
		}
	}
}
