package architecture

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var virtualNetwork = regexp.MustCompile(`"10\.[0-9]+\.[0-9]+\.0/24"`)

// TestVirtualNetworksAreApart: the tests of several packages run at the same time, and a machine has
// one way to a network.
func TestVirtualNetworksAreApart(t *testing.T) {
	found := map[string]string{} // the file that each is in
	err := filepath.WalkDir("../..", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".go") {
			if err == nil && entry.IsDir() && (entry.Name() == "build" || entry.Name() == ".git") {
				return fs.SkipDir
			}
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, network := range virtualNetwork.FindAllString(string(text), -1) {
			if other, taken := found[network]; taken && other != file {
				t.Errorf("%s is in %s and in %s: take one that is free", network, other, file)
			}
			found[network] = file
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 10 {
		t.Errorf("found are only %v", found)
	}
}
