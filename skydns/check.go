package skydns

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dokkaa/dokkaa/internal/store"
	"github.com/dokkaa/dokkaa/skydns/answer"
	"github.com/dokkaa/dokkaa/skydns/forward"
	"github.com/dokkaa/dokkaa/skydns/zone"
	"github.com/miekg/dns"
)

// checkTimeout is how long Check may take for what it reads.
const checkTimeout = 10 * time.Second

// Check writes the settings to out, each with where it comes from, and what a server with them would
// answer to the settings' Question, each record with the key that it was made of. It reads etcd, and
// asks other nameservers where the server would.
func Check(settings *Settings, out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	st, err := newStore(settings, store.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer st.Close()
	c := &configured{settings: settings, key: documentKey(settings), store: st, log: slog.New(slog.DiscardHandler)}
	value, unread := c.document(ctx)
	merged, unknown, err := settings.with(c.key, value)
	if err != nil {
		return err
	}
	if err := writeSettings(out, merged.withDefaults().list()); err != nil {
		return err
	}
	if len(unknown) > 0 {
		fmt.Fprintf(out, "\n%s has fields that mean nothing: %s\n", c.key, strings.Join(unknown, ", "))
	}
	if unread != nil {
		return fmt.Errorf("read settings in etcd: %w", unread)
	}
	if len(settings.Question) == 0 {
		return nil
	}
	config, err := merged.config()
	if err != nil {
		return err
	}
	listing, err := st.List(ctx, "/"+config.PathPrefix)
	if err != nil {
		return err
	}
	return explain(ctx, config, listing, st, settings.Question, out)
}

func writeSettings(out io.Writer, settings []setting) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SETTING\tVALUE\tFROM")
	for _, s := range settings {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.name, s.value, s.source)
	}
	return w.Flush()
}

// explain writes what is answered to a question, a name and perhaps a type.
func explain(ctx context.Context, config Config, listing store.Listing, keys lister, words []string, out io.Writer) error {
	q := dns.Question{Name: dns.Fqdn(words[0]), Qtype: dns.TypeA, Qclass: dns.ClassINET}
	if len(words) > 1 {
		qtype, known := dns.StringToType[strings.ToUpper(words[1])]
		if !known {
			return fmt.Errorf("%s is not a type of DNS records", words[1])
		}
		q.Qtype = qtype
	}
	now := time.Now()
	z, problems := zone.NewBuilder(config.PathPrefix).Build(&zone.Zone{}, listed(listing), now)
	for _, p := range problems {
		fmt.Fprintf(out, "\nskipped %s: %v\n", p.Key, p.Err)
	}
	fmt.Fprintf(out, "\n%s %s\n", q.Name, dns.Type(q.Qtype))
	if name, servers := stubZone(z, config, q.Name); name != "" {
		fmt.Fprintf(out, "asked of the servers of the stub zone %s: %v\n", name, servers)
		return nil
	}
	others := forward.New(forward.Options{Nameservers: config.Nameservers, Rotate: config.Rotate, Timeout: config.Timeout})
	defer others.Close()
	var outside answer.Resolver
	if others.HasNameservers() {
		outside = others
	}
	sources := map[dns.RR]string{}
	all := &overlay{Zone: z, ctx: ctx, unlisted: newUnlisted(keys, config.PathPrefix)}
	result, ours := answer.New(config.Answer, outside).Answer(ctx, all, answer.Query{
		Question: q, Size: dns.MaxMsgSize, Now: now,
		Trace: func(rr dns.RR, r *zone.Record) { sources[rr] = r.Key },
	})
	switch {
	case all.err != nil:
		return all.err
	case !ours && outside == nil:
		fmt.Fprintln(out, "not ours, and there is no nameserver to ask")
		return nil
	case !ours:
		fmt.Fprintf(out, "not ours: asked of %v\n", config.Nameservers)
		return nil
	}
	return writeResult(out, result, sources)
}

// stubZone is the longest stub zone that name is in, and its servers; empty if it is in none.
func stubZone(z *zone.Zone, config Config, name string) (stub string, servers []string) {
	if !config.StubZones {
		return "", nil
	}
	root := "stub.dns." + config.Answer.Domain
	for zone, addrs := range stubServers(z.Find(root), root) {
		if dns.IsSubDomain(zone, name) && len(zone) > len(stub) {
			stub, servers = zone, nil
			for _, addr := range addrs {
				servers = append(servers, addr.String())
			}
		}
	}
	return stub, servers
}

func writeResult(out io.Writer, result answer.Result, sources map[dns.RR]string) error {
	fmt.Fprintln(out, dns.RcodeToString[result.Rcode])
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, section := range []struct {
		name    string
		records []dns.RR
	}{{"answer", result.Answer}, {"authority", result.Authority}, {"additional", result.Additional}} {
		for _, rr := range section.records {
			from := sources[rr]
			switch {
			case from != "":
			case rr.Header().Rrtype == dns.TypeSOA:
				from = "the settings"
			default:
				from = "other nameservers"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", section.name, strings.Join(strings.Fields(rr.String()), " "), from)
		}
	}
	return w.Flush()
}
