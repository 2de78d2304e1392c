package dokkaacfg

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The columns of the table of docs/security.md that say from where a port is open.
const (
	fromHosts = iota
	fromElsewhere
	fromContainers
)

// openPorts is the table of docs/security.md: what is open on a host.
type openPorts struct {
	fixed     []portRow // of ports with a meaning
	published []portRow // of those that Docker publishes
	rest      portRow
}

type portRow struct {
	text        string
	first, last int
	bridgeOnly  bool // it answers at the address of the bridge only
	cells       [3]string
}

var (
	portRange  = regexp.MustCompile(`^([0-9]+)–([0-9]+)$`)
	bridgeCell = regexp.MustCompile("^at `172\\.30\\.0\\.1` only")
)

// documentedPorts reads the table. What it cannot read fails the test: a new word needs a meaning.
func documentedPorts(t *testing.T) openPorts {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "| port | what answers | from other hosts of the cluster | from elsewhere | from its containers |\n")
	if !found {
		t.Fatal("docs/security.md has no table of open ports")
	}
	var open openPorts
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != 5 {
			t.Fatalf("docs/security.md: %q has %d cells", line, len(cells))
		}
		if strings.HasPrefix(cells[0], "--") {
			continue
		}
		if err := open.add(cells); err != nil {
			t.Fatalf("docs/security.md: %q: %v", line, err)
		}
	}
	if len(open.fixed) < 4 || len(open.published) != 2 || open.rest.text == "" {
		t.Fatalf("docs/security.md: the table is %+v", open)
	}
	return open
}

func (o *openPorts) add(cells []string) error {
	row := portRow{text: cells[0], bridgeOnly: strings.Contains(cells[1], "at `172.30.0.1` only"), cells: [3]string(cells[2:])}
	for _, cell := range row.cells {
		if known := strings.HasPrefix(cell, "yes") || strings.HasPrefix(cell, "no") || strings.HasPrefix(cell, "as it was") || bridgeCell.MatchString(cell); !known {
			return fmt.Errorf("%q is not known", cell)
		}
	}
	if number, ok := strings.CutSuffix(row.text, " and up"); ok {
		o.published = append(o.published, row.from(number, "65535"))
		return nil
	}
	if number, ok := strings.CutPrefix(row.text, "below "); ok {
		limit, err := strconv.Atoi(number)
		o.published = append(o.published, row.from("1", strconv.Itoa(limit-1)))
		return err
	}
	if row.text == "all others" {
		o.rest = row.from("1", "65535")
		return nil
	}
	for port := range strings.SplitSeq(row.text, ", ") {
		first, last := port, port
		if limits := portRange.FindStringSubmatch(port); limits != nil {
			first, last = limits[1], limits[2]
		}
		ranged := row.from(first, last)
		if ranged.first == 0 || ranged.last == 0 {
			return fmt.Errorf("%q are no ports", port)
		}
		o.fixed = append(o.fixed, ranged)
	}
	return nil
}

func (r portRow) from(first, last string) portRow {
	r.first, _ = strconv.Atoi(first) // 0 is no port
	r.last, _ = strconv.Atoi(last)
	return r
}

// row is what the table says of a port.
func (o *openPorts) row(port int, published bool) portRow {
	rows := o.fixed
	if published {
		rows = slices.Concat(rows, o.published)
	}
	for _, row := range rows {
		if row.first <= port && port <= row.last {
			return row
		}
	}
	return o.rest
}

// Where on a host a port may be open.
const (
	onAddress   = "its address"
	onIPv6      = "its IPv6 address"
	onBridge    = "its bridge"
	onContainer = "a container"
)

// allows tells whether the table lets somebody reach the port there.
func (r portRow) allows(from int, at string) bool {
	cell := r.cells[from]
	open := !strings.HasPrefix(cell, "no")
	switch {
	case at == onContainer:
		return false // "containers of the cluster, at their own addresses": no
	case bridgeCell.MatchString(cell), r.bridgeOnly:
		return open && at == onBridge
	default:
		return open && at == onAddress
	}
}

// everywhere tells whether whoever reaches the port at the host's address may do so at its others:
// what the whole world may reach.
func (r portRow) everywhere() bool {
	return strings.HasPrefix(r.cells[fromElsewhere], "yes") || strings.HasPrefix(r.cells[fromElsewhere], "as it was")
}
