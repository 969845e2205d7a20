package docs_test

import (
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// files are the parsed Go files of a package of the product, without its tests.
func files(t *testing.T, pkg string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("..", pkg, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var parsed []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, file)
	}
	return parsed
}

// eachConstant calls back with every constant of a package that has a name, a type ("" for none) and a value of its own.
func eachConstant(t *testing.T, pkg string, yield func(name, typ string, value ast.Expr)) {
	t.Helper()
	for _, file := range files(t, pkg) {
		for _, decl := range file.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, spec := range group.Specs {
				line, ok := spec.(*ast.ValueSpec)
				if !ok || len(line.Values) != len(line.Names) {
					continue
				}
				typ := ""
				if ident, ok := line.Type.(*ast.Ident); ok {
					typ = ident.Name
				}
				for i, name := range line.Names {
					yield(name.Name, typ, line.Values[i])
				}
			}
		}
	}
}

// typedConstants are the constants of one type, by name.
func typedConstants(t *testing.T, pkg, typ string) map[string]string {
	t.Helper()
	found := map[string]string{}
	eachConstant(t, pkg, func(name, of string, value ast.Expr) {
		if of == typ {
			found[name] = text(value, nil)
		}
	})
	return found
}

// stringConstants are the constants of a package that are texts, or texts put together from constants that stand before them.
func stringConstants(t *testing.T, pkg string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for range 2 { // files come in the order of their names
		eachConstant(t, pkg, func(name, _ string, value ast.Expr) {
			if s := text(value, found); s != "" {
				found[name] = s
			}
		})
	}
	return found
}

// text is the value of a literal, of a known constant or of a sum of those; "" is anything else.
func text(expr ast.Expr, known map[string]string) string {
	switch e := expr.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return s
		}
	case *ast.Ident:
		return known[e.Name]
	case *ast.BinaryExpr:
		left, right := text(e.X, known), text(e.Y, known)
		if e.Op == token.ADD && left != "" && right != "" {
			return left + right
		}
	default:
	}
	return ""
}

// source is how an expression is written.
func source(t *testing.T, expr ast.Expr) string {
	t.Helper()
	var b strings.Builder
	if err := printer.Fprint(&b, token.NewFileSet(), expr); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// conditions are the types of conditions and the reasons of warnings that status and rollout know.
func conditions(t *testing.T) (types, reasons []string) {
	t.Helper()
	for _, file := range slices.Concat(files(t, "status"), files(t, "rollout")) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				fields := map[string]string{}
				for _, element := range n.Elts {
					if pair, ok := element.(*ast.KeyValueExpr); ok {
						fields[source(t, pair.Key)] = text(pair.Value, nil)
					}
				}
				if fields["Type"] != "" {
					types = append(types, fields["Type"])
				}
				if fields["Type"] == "Warning" && fields["Reason"] != "" {
					reasons = append(reasons, fields["Reason"])
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "warn" && len(n.Args) == 3 {
					reasons = append(reasons, text(n.Args[1], nil))
				}
				if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "warn" {
					reasons = append(reasons, text(n.Args[0], nil))
				}
			default:
			}
			return true
		})
	}
	return types, reasons
}

// events are the events that the controller writes: what they are about, and the reason: its text, or how it is computed.
func events(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, file := range files(t, "controller") {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 4 {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !strings.HasSuffix(source(t, method.X), ".Events") {
				return true
			}
			reason := text(call.Args[2], nil)
			if reason == "" {
				reason = source(t, call.Args[2])
			}
			found = append(found, method.Sel.Name+" "+reason)
			return true
		})
	}
	return found
}
