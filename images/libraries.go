package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// libraryDirs is where the loader looks, on the architectures that we build for.
var libraryDirs = []string{
	"usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib", "usr/lib64",
}

// addPrograms adds programs of the unpacked packages with the loader and all the libraries that
// they need, directly or not.
func (d debian) addPrograms(contents files, programs ...string) error {
	for todo := slices.Clone(programs); len(todo) > 0; todo = todo[1:] {
		name := todo[0]
		if _, ok := contents[name]; ok {
			continue
		}
		real, err := d.add(contents, name)
		if err != nil {
			return err
		}
		needed, err := d.needed(real)
		if err != nil {
			return err
		}
		todo = append(todo, needed...)
	}
	return nil
}

// add adds a file and, if it is a symbolic link, what it points to, whose name it returns.
func (d debian) add(contents files, name string) (string, error) {
	for range 8 { // more links than any package has
		local := filepath.Join(d.tree(), name)
		info, err := os.Lstat(local)
		if err != nil {
			return "", fmt.Errorf("find %s in the packages: %w", name, err)
		}
		if info.Mode().Type() != fs.ModeSymlink {
			data, err := os.ReadFile(local)
			if err != nil {
				return "", fmt.Errorf("read %s: %w", name, err)
			}
			contents.add(name, int64(info.Mode().Perm()&^0o022), data)
			return name, nil
		}
		target, err := os.Readlink(local)
		if err != nil {
			return "", fmt.Errorf("read %s: %w", name, err)
		}
		contents.link(name, target)
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(name), target)
		}
		name = merged(target)
	}
	return "", fmt.Errorf("%s: too many symbolic links", name)
}

// needed are the loader and the libraries that a program or library names.
func (d debian) needed(name string) ([]string, error) {
	object, err := elf.Open(filepath.Join(d.tree(), name))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer object.Close()
	libraries, err := object.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("read libraries of %s: %w", name, err)
	}
	var found []string
	for _, library := range libraries {
		file, err := d.findLibrary(library)
		if err != nil {
			return nil, fmt.Errorf("%s needs a library: %w", name, err)
		}
		found = append(found, file)
	}
	if interp := object.Section(".interp"); interp != nil {
		loader, err := interp.Data()
		if err != nil {
			return nil, fmt.Errorf("read loader of %s: %w", name, err)
		}
		found = append(found, merged(string(loader[:max(0, len(loader)-1)]))) // it ends with a zero
	}
	return found, nil
}

func (d debian) findLibrary(library string) (string, error) {
	for _, dir := range libraryDirs {
		name := path.Join(dir, library)
		_, err := os.Lstat(filepath.Join(d.tree(), name))
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("no package has %s", library)
}
