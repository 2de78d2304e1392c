package skydns

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// scenario is a part of a file in testdata, whose README says what the lines mean.
type scenario struct {
	name, title string
	setup       map[string][]string
	config      string
	steps       []step
}

// step is a line of a scenario and, for a question, what is to be replied.
type step struct {
	verb   string
	fields []string // of the line, without the verb
	rest   string   // of the line, as it stands there
	want   []string // words: a code, flags, checks
	rrs    map[string][]string
}

var setupVerbs = []string{"args", "prefix", "nameservers", "etcd"}

func readScenarios(t *testing.T, file string) []*scenario {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []*scenario
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		if head, ok := strings.CutPrefix(line, "= "); ok {
			name, title, _ := strings.Cut(head, ": ")
			all = append(all, &scenario{name: name, title: title, setup: map[string][]string{}})
			continue
		}
		if len(all) == 0 {
			t.Fatalf("%s:%d: no scenario yet", file, n)
		}
		if err := all[len(all)-1].add(line); err != nil {
			t.Fatalf("%s:%d: %v", file, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func (s *scenario) add(line string) error {
	verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	var last *step
	if len(s.steps) > 0 {
		last = &s.steps[len(s.steps)-1]
	}
	switch {
	case slices.Contains(setupVerbs, verb):
		s.setup[verb] = append(s.setup[verb], strings.Fields(rest)...)
	case verb == "config":
		s.config = rest
	case slices.Contains([]string{"ask", "send", "put", "delete", "cut", "hang", "mend", "wait"}, verb):
		s.steps = append(s.steps, step{verb: verb, fields: strings.Fields(rest), rest: rest, rrs: map[string][]string{}})
	case last == nil || last.verb != "ask" && last.verb != "send":
		return fmt.Errorf("%q is not the reply to a question", line)
	case strings.HasPrefix(line, "  "):
		last.rrs[verb] = append(last.rrs[verb], rest)
	default:
		last.want = append([]string{verb}, strings.Fields(rest)...)
	}
	return nil
}

// option is the value of name=value among the fields.
func (s *step) option(name, otherwise string) string {
	for _, f := range s.fields {
		if value, ok := strings.CutPrefix(f, name+"="); ok {
			return value
		}
	}
	return otherwise
}

func (s *step) number(name string, otherwise int) int {
	n, err := strconv.Atoi(s.option(name, strconv.Itoa(otherwise)))
	if err != nil {
		panic(err)
	}
	return n
}

// query is the question of an ask.
func (s *step) query() *dns.Msg {
	q := question(s.fields[0], qtypeOf(s.fields[1]))
	q.Question[0].Qclass = dns.StringToClass[s.option("class", "IN")]
	q.RecursionDesired = !slices.Contains(s.fields, "nord")
	if size := s.option("edns", ""); size != "" {
		q.SetEdns0(uint16(s.number("edns", 0)), slices.Contains(s.fields, "do"))
	}
	return q
}

func qtypeOf(name string) uint16 {
	if n, err := strconv.Atoi(strings.TrimPrefix(name, "TYPE")); err == nil {
		return uint16(n)
	}
	return dns.StringToType[name]
}

// differences says how a reply, of so many bytes, is not the one that is wanted.
func (s *step) differences(reply *dns.Msg, size int) []string {
	if s.want[0] == "anything" {
		return nil
	}
	var diffs []string
	if got := dns.RcodeToString[reply.Rcode]; got != s.want[0] {
		diffs = append(diffs, fmt.Sprintf("code is %s", got))
	}
	free := map[string]bool{}
	for _, word := range s.want[1:] {
		name, value, _ := strings.Cut(word, "=")
		section := sections(reply)[strings.TrimPrefix(name, "any-")]
		switch {
		case strings.HasPrefix(name, "any-"):
			free[strings.TrimPrefix(name, "any-")] = true
		case section != nil:
			free[name] = true
			if !inRange(value, strconv.Itoa(len(*section))) {
				diffs = append(diffs, fmt.Sprintf("%d records in %s, want %s", len(*section), name, value))
			}
		case name == "size<":
			if limit, err := strconv.Atoi(value); err != nil || size > limit {
				diffs = append(diffs, fmt.Sprintf("%d bytes, want %s", size, word))
			}
		case checks[word] != nil:
			if err := checks[word](reply); err != nil {
				diffs = append(diffs, fmt.Sprintf("not %s: %v", word, err))
			}
		case word != "ordered":
			if err := checkFlag(reply, word); err != nil {
				diffs = append(diffs, err.Error())
			}
		}
	}
	for name, section := range sections(reply) {
		if free[name] {
			continue
		}
		if d := compare(s.rrs[name], *section, name == "answer" && slices.Contains(s.want, "ordered")); d != "" {
			diffs = append(diffs, name+" "+d)
		}
	}
	return diffs
}

// sections are the records of a reply as text, but for OPT.
func sections(reply *dns.Msg) map[string]*[]string {
	all := map[string]*[]string{}
	for name, records := range map[string][]dns.RR{"answer": reply.Answer, "ns": reply.Ns, "extra": reply.Extra} {
		lines := []string{}
		for _, rr := range records {
			if rr.Header().Rrtype != dns.TypeOPT {
				lines = append(lines, strings.Join(strings.Fields(rr.String()), " "))
			}
		}
		all[name] = &lines
	}
	return all
}

// compare says what is missing or too much; what is wanted has few patterns that overlap.
func compare(want, got []string, ordered bool) string {
	left := slices.Clone(got)
	for i, w := range want {
		at := slices.IndexFunc(left, func(g string) bool { return matches(w, g) })
		if at < 0 || ordered && at != 0 {
			return fmt.Sprintf("lacks %d. %q in\n\t%s", i+1, w, strings.Join(got, "\n\t"))
		}
		left = slices.Delete(left, at, at+1)
	}
	if len(left) > 0 {
		return "has too much:\n\t" + strings.Join(left, "\n\t")
	}
	return ""
}

func matches(want, got string) bool {
	w, g := strings.Fields(want), strings.Fields(got)
	if last := len(w) - 1; w[last] == "**" {
		w = w[:last]
		g = g[:min(len(g), len(w))]
	}
	return slices.EqualFunc(w, g, func(w, g string) bool {
		return w == "*" || strings.EqualFold(w, g) || strings.Contains(w, "..") && inRange(w, g)
	})
}

func inRange(bounds, number string) bool {
	from, to, _ := strings.Cut(bounds, "..")
	low, err1 := strconv.Atoi(from)
	high, err2 := strconv.Atoi(to)
	n, err3 := strconv.Atoi(number)
	return err1 == nil && err2 == nil && err3 == nil && low <= n && n <= high
}

func checkFlag(reply *dns.Msg, word string) error {
	name, unset := strings.CutPrefix(word, "-")
	flags := map[string]bool{
		"aa": reply.Authoritative, "tc": reply.Truncated, "rd": reply.RecursionDesired,
		"ra": reply.RecursionAvailable, "ad": reply.AuthenticatedData, "opt": reply.IsEdns0() != nil,
	}
	set, known := flags[name]
	if !known || set == unset {
		return fmt.Errorf("%s is not so", word)
	}
	return nil
}
