package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// clock is what of package time tells or waits for the present time.
var clock = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}

// TestPureHasNoClock: in what plans, time is data.
func TestPureHasNoClock(t *testing.T) {
	for dir := range pure {
		files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, err %v", dir, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, used := range uses(t, file, func(of, name string) bool { return of == "time" && slices.Contains(clock, name) }) {
				t.Errorf("%s uses %s: planning is pure, it is told the time", file, used)
			}
		}
	}
}

// TestDaemonsMeasureTimeMonotonically: a time that became a number is one of the wall clock, which
// may be put forward or back by an hour at any moment.
func TestDaemonsMeasureTimeMonotonically(t *testing.T) {
	numbers := []string{"UnixNano", "UnixMicro", "UnixMilli"}
	for _, dir := range append([]string{"internal"}, daemons...) {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(file string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return err
			}
			for _, used := range uses(t, file, func(_, name string) bool { return slices.Contains(numbers, name) }) {
				t.Errorf("%s uses %s: keep a time.Time, or a time.Duration since one", file, used)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// uses are the selectors in a file, as written, that want holds of.
func uses(t *testing.T, file string, want func(of, name string) bool) (used []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		of := ""
		if name, ok := selector.X.(*ast.Ident); ok {
			of = name.Name
		}
		if want(of, selector.Sel.Name) {
			used = append(used, of+"."+selector.Sel.Name)
		}
		return true
	})
	return used
}
