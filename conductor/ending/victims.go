package ending

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// process is one of the namespace.
type process struct {
	pid, parent, session int
	mark                 string // "" for none
}

// victims finds the processes that are to end.
type victims struct {
	meant   Marked
	outside int // the id that processes outside the namespace have here
	// Of the commands that are meant: their marks, and their sessions, of which Docker gives each one.
	// They stay known when the command's first process has gone.
	marks    map[string]bool
	sessions map[int]bool
}

func newVictims(meant Marked) *victims {
	return &victims{meant: meant, marks: map[string]bool{}, sessions: map[int]bool{}}
}

func (v *victims) find() ([]int, error) {
	all, err := processes("/proc")
	if err != nil {
		return nil, err
	}
	return v.among(all, os.Getpid()), nil
}

// among are the processes of the commands that are meant: those that have the mark in their
// environment, those of a command's session, and what descends from them. One that has cleaned its
// environment is found by the other two. What the container itself runs is not among them.
func (v *victims) among(all []process, self int) (pids []int) {
	for _, p := range all {
		if p.mark != "" && p.parent == v.outside && p.pid != 1 && p.pid != self && v.meant(p.mark) {
			v.marks[p.mark] = true
			if p.session == p.pid {
				v.sessions[p.session] = true
			}
		}
	}
	doomed := map[int]bool{}
	for again := true; again; {
		again = false
		for _, p := range all {
			if doomed[p.pid] || p.pid == 1 || p.pid == self {
				continue
			}
			if v.marks[p.mark] || v.sessions[p.session] || doomed[p.parent] {
				doomed[p.pid], again = true, true
				pids = append(pids, p.pid)
			}
		}
	}
	slices.Sort(pids)
	return pids
}

// processes are those that have not ended. One that goes meanwhile is left out.
func processes(proc string) (all []process, err error) {
	dirs, err := filepath.Glob(filepath.Join(proc, "[0-9]*"))
	if err != nil {
		return nil, err
	}
	if len(dirs) == 0 {
		return nil, errors.New("no process can be seen")
	}
	for _, dir := range dirs {
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue
		}
		p, alive, err := parseStat(string(stat))
		if err != nil {
			return nil, fmt.Errorf("read %s/stat: %w", dir, err)
		}
		if !alive {
			continue
		}
		// One whose environment cannot be read may still be of a session.
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		p.mark = markIn(environ)
		all = append(all, p)
	}
	return all, nil
}

// parseStat reads /proc/<pid>/stat. The name, in brackets, may hold anything.
func parseStat(text string) (p process, alive bool, err error) {
	end := strings.LastIndex(text, ")")
	pid, _, _ := strings.Cut(text, " ")
	fields := strings.Fields(text[end+1:]) // state, parent, process group, session
	if end < 0 || len(fields) < 4 {
		return p, false, fmt.Errorf("it is %q", text)
	}
	for _, f := range []struct {
		value string
		into  *int
	}{{pid, &p.pid}, {fields[1], &p.parent}, {fields[3], &p.session}} {
		if *f.into, err = strconv.Atoi(f.value); err != nil {
			return p, false, err
		}
	}
	return p, fields[0] != "Z" && fields[0] != "X", nil
}

func markIn(environ []byte) string {
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		if mark, found := bytes.CutPrefix(variable, []byte(Variable+"=")); found {
			return string(mark)
		}
	}
	return ""
}
