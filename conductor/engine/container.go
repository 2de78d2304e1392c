// Package engine runs containers on this host's Docker Engine: the conductor's only way to it.
package engine

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

// Labels that tell whose a container is. What runs is read from them, never remembered.
const (
	LabelCluster    = "dokkaa.cluster"
	LabelApp        = "dokkaa.app"
	LabelName       = "dokkaa.name"
	LabelSlot       = "dokkaa.slot"
	LabelRevision   = "dokkaa.revision"
	LabelInstance   = "dokkaa.instance"
	LabelGeneration = "dokkaa.generation"
	LabelVolume     = "dokkaa.volume"   // of a volume: its name in the manifest; its slot is 0 if all slots share it
	LabelLeash      = "dokkaa.leash"    // how long it may run without the host's lease, in the agent's words
	LabelBackends   = "dokkaa.backends" // what the ambassador lets it reach: {"10001": "nginx.dummy.skydns.local"}
	LabelLinks      = "dokkaa.links"    // what else it is to know of them, beside that for the sake of those that do not: {"10001": {"sticky": true}}
)

// Port is a port of a container. TCP and UDP have ports of their own.
type Port struct {
	Number int
	UDP    bool // else it is TCP's
}

// TCP is a port that connections are made to.
func TCP(number int) Port { return Port{Number: number} }

// UDP is a port that datagrams are sent to.
func UDP(number int) Port { return Port{Number: number, UDP: true} }

// String is the port as Docker writes it: 80/tcp.
func (p Port) String() string {
	if p.UDP {
		return strconv.Itoa(p.Number) + "/udp"
	}
	return strconv.Itoa(p.Number) + "/tcp"
}

// Compare orders ports by number, TCP before UDP.
func (p Port) Compare(other Port) int {
	return cmp.Or(cmp.Compare(p.Number, other.Number), strings.Compare(p.String(), other.String()))
}

// Spec is a container to be run.
type Spec struct {
	state.Ref
	Slot       int
	Revision   int
	Instance   string
	Generation int

	Name       string // in Docker
	Image      string
	Entrypoint []string
	Command    []string
	Env        []string
	User       string
	WorkingDir string
	Hostname   string
	Labels     map[string]string // the user's own, beside ours
	Ports      []Port            // to publish, each on a port of the host that Docker chooses
	HostPorts  map[Port]int      // those of them that are published on a fixed port of the host
	CPUs       float64           // limit, in cores; 0: none
	Memory     int64             // limit, in bytes; 0: none
	Mounts     []Mount
	Leash      string
	Backends   map[string]string
	Links      map[string]Link // those of the backends that are not as usual
}

// Link is how the ambassador is to treat connections to a backend.
type Link struct {
	Sticky bool `json:"sticky,omitempty"` // the same instance each time
}

// labels are the user's and ours, which win.
func (s Spec) labels(cluster string) map[string]string {
	labels := maps.Clone(s.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, map[string]string{
		LabelCluster: cluster, LabelApp: s.App, LabelName: s.Ref.Name,
		LabelSlot: strconv.Itoa(s.Slot), LabelRevision: strconv.Itoa(s.Revision),
		LabelInstance: s.Instance, LabelGeneration: strconv.Itoa(s.Generation),
		LabelLeash: s.Leash, LabelBackends: text(s.Backends),
	})
	if len(s.Links) > 0 {
		labels[LabelLinks] = text(s.Links)
	}
	return labels
}

// text is the value in JSON.
func text[V any](values map[string]V) string {
	data, err := json.Marshal(values)
	if err != nil {
		panic(err) // it is a map of plain values
	}
	return string(data)
}

// Status is Docker's word for how a container is.
type Status string

// The statuses that matter here; others are handled like StatusCreated.
const (
	StatusCreated  Status = "created"
	StatusRunning  Status = "running"
	StatusPaused   Status = "paused"
	StatusExited   Status = "exited"
	StatusDead     Status = "dead"
	StatusRemoving Status = "removing"
)

// Runs tells whether the container has processes.
func (s Status) Runs() bool { return s == StatusRunning || s == StatusPaused }

// Container is a container of ours as Docker reports it.
type Container struct {
	state.Ref
	Slot     int
	Revision int
	Instance string
	Leash    string

	ID      string
	Name    string
	Status  Status
	Detail  string        // Docker's own words: "Exited (137) 2 seconds ago"
	Health  Health        // by the image's HEALTHCHECK, while it runs
	Up      time.Duration // since it was started, at least; 0 unless it runs
	Addr    netip.Addr    // on the network Network; zero unless running
	Ports   map[Port]int  // container's port -> published port
	Created time.Time
	ImageID string
	Volumes []string // names of those that it may write to
}

// identify fills in what the labels say; ok is false if they are not what we write.
func (c *Container) identify(labels map[string]string) (ok bool) {
	var err error
	c.Ref = state.Ref{App: labels[LabelApp], Name: labels[LabelName]}
	c.Instance, c.Leash = labels[LabelInstance], labels[LabelLeash]
	if c.Slot, err = strconv.Atoi(labels[LabelSlot]); err != nil {
		return false
	}
	if c.Revision, err = strconv.Atoi(labels[LabelRevision]); err != nil {
		return false
	}
	return c.App != "" && c.Ref.Name != "" && c.Instance != ""
}
