package imports

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// clock lists the functions of package time that read the clock or wait for it.
var clock = map[string]bool{
	"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true, "Tick": true,
	"NewTimer": true, "NewTicker": true,
}

// ClockUses finds the places in a folder's Go files, tests aside, which read the clock. Package time is
// no banned import, as it also has the types; so this looks at what is used of it.
func ClockUses(folder string) ([]string, error) {
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s has no Go files: %w", folder, os.ErrNotExist)
	}
	var uses []string
	files := token.NewFileSet()
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, position := range clockUses(file) {
			uses = append(uses, files.Position(position).String())
		}
	}
	return uses, nil
}

func clockUses(file *ast.File) []token.Pos {
	name := ""
	for _, spec := range file.Imports {
		if path, err := strconv.Unquote(spec.Path.Value); err == nil && path == "time" {
			name = "time"
			if spec.Name != nil {
				name = spec.Name.Name
			}
		}
	}
	if name == "" {
		return nil
	}
	var uses []token.Pos
	ast.Inspect(file, func(n ast.Node) bool {
		if selector, ok := n.(*ast.SelectorExpr); ok && clock[selector.Sel.Name] {
			if id, ok := selector.X.(*ast.Ident); ok && id.Name == name {
				uses = append(uses, selector.Pos())
			}
		}
		return true
	})
	return uses
}
