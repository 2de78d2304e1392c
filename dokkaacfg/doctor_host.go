package dokkaacfg

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	dockerclient "github.com/fsouza/go-dockerclient"

	"github.com/dokkaa/dokkaa/dokkaacfg/provision"
)

const (
	slowDocker     = 2 * time.Second
	leastDisk      = 1 << 30 // bytes; with less, images are not loaded and etcd is about to stop
	littleDisk     = 5 << 30
	leastMemory    = 64 << 20
	littleMemory   = 256 << 20
	firewallHelper = "dokkaa-firewall"
	versionLabel   = "org.opencontainers.image.version"
)

// patient is a host that is examined, with what the checks of others need of it.
type patient struct {
	host    Host
	found   []finding
	reached bool // we get onto the host
	member  bool // it has a member of etcd
	// ahead is by how much the host's clock is ahead of this machine's, give or take the doubt.
	ahead, doubt time.Duration
	versions     map[string]string // of our daemons, by name
}

// factsScript tells of a host what its Engine does not. $1 is Docker's directory.
const factsScript = `
echo "clock $(date +%%s.%%N)"
echo "disk $(df -Pk %s | awk 'NR == 2 {print $4 * 1024}')"
awk '$1 == "MemAvailable:" {print "memory", $2 * 1024}' /proc/meminfo
for file in /proc/net/tcp /proc/net/tcp6; do
	awk 'NR > 1 && $4 == "0A" {print "listens", $2}' $file 2>/dev/null || true
done
`

// shellOn runs a script on a host as root.
func shellOn(ctx context.Context, host Host, script string) (string, error) {
	if machine, ok := host.(hostedHost); ok {
		return machine.remote.Run(ctx, script, nil)
	}
	out, err := commandOn(ctx, host, "sh", "-euc", script).Output()
	return string(out), err
}

// examineHost looks at a host for itself.
func (s *session) examineHost(ctx context.Context, host Host) *patient {
	p := &patient{host: host, versions: map[string]string{}}
	if _, err := shellOn(ctx, host, "true"); err != nil {
		p.found = append(p.found, wrong("reachable", firstLine(err.Error()),
			"is it on, and does the way to it work? If it is gone for good: dokkaacfg up replaces it where the provider can, dokkaacfg host rm forgets it"))
		return p
	}
	p.reached = true
	p.found = append(p.found, fine("reachable", "commands can be run on it"))
	root := p.examineDocker(ctx, s)
	p.examineFacts(ctx, root)
	p.examineCertificates(ctx)
	return p
}

// examineDocker looks at the Engine and at our daemons on it, and returns the Engine's directory.
func (p *patient) examineDocker(ctx context.Context, s *session) (root string) {
	const check = "docker"
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, requestTimeout/2)
	defer cancel()
	e, err := connect(limited, p.host, s.log)
	var info *dockerclient.DockerInfo
	if err == nil {
		err = bounded(limited, func() (err error) {
			info, err = e.client.Info()
			return err
		})
	}
	if err != nil {
		p.found = append(p.found, wrong(check, firstLine(err.Error()), "on the host: systemctl status docker, and journalctl -u docker; what runs there goes on while Docker is away"))
		return "/var/lib"
	}
	took := time.Since(start)
	switch {
	case took > slowDocker:
		p.found = append(p.found, notable(check, fmt.Sprintf("it took %s to answer", took.Round(time.Millisecond)), "the host has much to do, or its disk is slow"))
	default:
		p.found = append(p.found, fine(check, "version %s, storage driver %s", info.ServerVersion, info.Driver))
	}
	if _, hosted := p.host.(hostedHost); hosted && !info.LiveRestoreEnabled {
		p.found = append(p.found, notable("live-restore", "containers end when Docker is restarted", `"live-restore": true in /etc/docker/daemon.json, then systemctl reload docker`))
	}
	p.examineDaemons(limited, e)
	return info.DockerRootDir
}

// examineDaemons looks at each of our daemons.
func (p *patient) examineDaemons(ctx context.Context, e *engine) {
	for _, name := range append(slices.Clone(daemonNames), firewallHelper) {
		container, err := e.find(ctx, name)
		if err != nil {
			p.found = append(p.found, wrong(name, firstLine(err.Error()), "see docker"))
			continue
		}
		if name == etcdName && container == nil {
			continue // it is not on every host
		}
		p.member = p.member || name == etcdName
		p.found = append(p.found, examineDaemon(name, container))
		if container != nil && container.Config != nil {
			if version := container.Config.Labels[versionLabel]; version != "" {
				p.versions[name] = version
			}
		}
	}
	for _, name := range daemonNames {
		before, err := e.predecessors(ctx, name)
		if err == nil && len(before) > 0 {
			p.found = append(p.found, notable(name, "one from before is still there: "+before[0].name, "an upgrade did not come to its end; the same command goes on"))
		}
	}
}

// examineDaemon judges a daemon by its container, nil for none.
func examineDaemon(name string, container *dockerclient.Container) finding {
	up := "dokkaacfg up starts what is missing"
	if name == firewallHelper {
		up = "the conductor starts it again; docker logs conductor says why not. Until then containers may reach what they should not"
	}
	logs := "docker logs " + name + " on the host says why"
	switch {
	case container == nil:
		return wrong(name, "there is no container of it", up)
	case container.State.Restarting:
		return wrong(name, fmt.Sprintf("it does not stay up: started %d times, last exit code %d", container.RestartCount+1, container.State.ExitCode), logs)
	case !container.State.Running:
		return wrong(name, "it does not run", up)
	case container.State.Health.Status == "unhealthy":
		return wrong(name, "it is not healthy: "+lastHealth(container.State.Health), logs)
	case container.RestartCount > 0:
		return notable(name, fmt.Sprintf("it runs, and was started again %s", plural(container.RestartCount, "time", "times")), logs)
	}
	return fine(name, "runs since %s", container.State.StartedAt.UTC().Format(time.DateTime))
}

func lastHealth(h dockerclient.Health) string {
	if len(h.Log) == 0 {
		return "no check has been made yet"
	}
	return firstLine(strings.TrimSpace(h.Log[len(h.Log)-1].Output))
}

// examineFacts looks at what a shell on the host tells.
func (p *patient) examineFacts(ctx context.Context, root string) {
	asked := time.Now()
	out, err := shellOn(ctx, p.host, fmt.Sprintf(factsScript, "'"+root+"'"))
	if err != nil {
		p.found = append(p.found, wrong("system", firstLine(err.Error()), "is it a system with a shell, awk, date and df?"))
		return
	}
	took := time.Since(asked)
	var listens []string
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		number, _ := strconv.ParseFloat(value, 64) // what is no number is 0, and found wanting
		switch key {
		case "clock":
			// It was read at some time between our question and the answer.
			there := time.Unix(0, int64(number*1e9))
			p.ahead, p.doubt = there.Sub(asked.Add(took/2)), took/2
		case "disk":
			p.found = append(p.found, examineRoom("disk", "where Docker keeps all", number, leastDisk, littleDisk,
				"docker system df on the host says what takes it; docker image prune removes images that nothing runs"))
		case "memory":
			p.found = append(p.found, examineRoom("memory", "that can still be had", number, leastMemory, littleMemory,
				"dokkaacfg stats shows what takes it; dokkaacfg host drain, or more hosts"))
		case "listens":
			listens = append(listens, value)
		}
	}
	p.found = append(p.found, examineListeners(listens))
}

// examineRoom judges how much of something there is.
func examineRoom(check, what string, free, least, little float64, do string) finding {
	says := fmt.Sprintf("%.1f GiB %s", free/(1<<30), what)
	switch {
	case free < least:
		return wrong(check, says, do)
	case free < little:
		return notable(check, says, do)
	}
	return fine(check, "%s", says)
}

// shutPorts are those that only the host itself may reach: our operations, and Docker without proof of who asks.
var shutPorts = map[uint64]string{2375: "Docker", 4002: "conductor", 4003: "ambassador", 4004: "skydns", 4005: "gateway", 4006: firewallHelper}

// examineListeners judges the addresses that are listened at, as /proc/net/tcp has them.
func examineListeners(listens []string) finding {
	const check = "open ports"
	var open []string
	for _, at := range listens {
		address, hex, _ := strings.Cut(at, ":")
		port, err := strconv.ParseUint(hex, 16, 16)
		who := shutPorts[port]
		// An address is in the machine's byte order: of 127.0.0.1 the last byte is 7F, of ::1 the last word is 1.
		loopback := len(address) == 8 && strings.HasSuffix(address, "7F") || address == "00000000000000000000000001000000" ||
			len(address) == 32 && strings.HasPrefix(address, "0000000000000000FFFF0000") && strings.HasSuffix(address, "7F")
		if err == nil && who != "" && !loopback {
			open = append(open, fmt.Sprintf("%d (%s)", port, who))
		}
	}
	if len(open) > 0 {
		slices.Sort(open)
		return wrong(check, "others reach what only the host may: "+strings.Join(slices.Compact(open), ", "), "who reaches it has the host: see docs/security.md, and close it")
	}
	return fine(check, "what only the host may reach listens on loopback")
}

// examineCertificates looks when the host's certificates end.
func (p *patient) examineCertificates(ctx context.Context) {
	const check = "certificates"
	machine, ok := p.host.(hostedHost)
	if !ok {
		return // it has none
	}
	has, err := provision.Certificates(ctx, machine.remote)
	if err != nil {
		p.found = append(p.found, wrong(check, firstLine(err.Error()), "dokkaacfg up brings what is missing"))
		return
	}
	name, end := firstToEnd(has)
	p.found = append(p.found, examineEnd(check, name, end, time.Now()))
}

// firstToEnd is the certificate that is good for the shortest time; the zero time if there is none.
func firstToEnd(files map[string][]byte) (first string, end time.Time) {
	for name, data := range files {
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			certificate, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return name, time.Time{}
			}
			if end.IsZero() || certificate.NotAfter.Before(end) {
				first, end = name, certificate.NotAfter
			}
		}
	}
	return first, end
}

// examineEnd judges when a certificate ends.
func examineEnd(check, name string, end, now time.Time) finding {
	const renew = "dokkaacfg up renews certificates"
	switch left := end.Sub(now); {
	case end.IsZero():
		return wrong(check, strings.TrimSpace("there is none that can be read "+name), renew)
	case left <= 0:
		return wrong(check, fmt.Sprintf("%s has ended at %s", name, end.UTC().Format(time.DateTime)), renew)
	case left < 60*24*time.Hour:
		return notable(check, fmt.Sprintf("%s ends at %s", name, end.UTC().Format(time.DateTime)), renew)
	}
	return fine(check, "the first ends at %s", end.UTC().Format(time.DateTime))
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}
