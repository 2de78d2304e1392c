package engine

import (
	"slices"
	"testing"
)

// Whatever its client sets, a command has the mark that it is ended by.
func TestCommandKeepsItsMark(t *testing.T) {
	env := Command{Args: []string{"sleep"}, Env: []string{"A=b", "DOKKAA_EXEC=none"}, Mark: "i1/x"}.request()["Env"]
	if want := []string{"A=b", "DOKKAA_EXEC=none", "DOKKAA_EXEC=i1/x"}; !slices.Equal(env.([]string), want) {
		t.Errorf("its environment is %q, want %q", env, want)
	}
}
