// Package manifest is what a user writes: one container of an application, as JSON at the
// etcd key /apps/<app>/<name>/manifest, and everything that is derived from it alone.
package manifest

// Manifest is a parsed and validated manifest with its defaults filled in.
type Manifest struct {
	Image      string            `json:"image"`
	Command    []string          `json:"command,omitempty"`
	Entrypoint []string          `json:"entrypoint,omitempty"`
	Env        map[string]string `json:"env,omitempty"`
	User       string            `json:"user,omitempty"`
	WorkingDir string            `json:"working_dir,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Hostname   string            `json:"hostname,omitempty"`
	Pull       Pull              `json:"pull"`

	Scale int  `json:"scale"` // instances on the cluster; 1 and without a meaning in the other modes
	Mode  Mode `json:"mode"`
	Job        // how a container of mode job runs

	Services map[string]Service `json:"services,omitempty"`
	Links    []Link             `json:"links,omitempty"`

	Checks          []Check    `json:"checks,omitempty"` // none: the image's HEALTHCHECK, else a TCP connect to each service
	Restart         Restart    `json:"restart"`
	Disconnect      Disconnect `json:"disconnect"`
	Update          Update     `json:"update"`
	StopGracePeriod Duration   `json:"stop_grace_period"` // from SIGTERM to SIGKILL
	DrainTimeout    Duration   `json:"drain_timeout"`     // how long a withdrawn instance waits for its connections to end
	RevisionHistory int        `json:"revision_history"`  // revisions kept beside those in use

	Constraints []Condition  `json:"constraints,omitempty"`
	Affinities  []Affinity   `json:"affinities,omitempty"`
	Spread      []Spread     `json:"spread,omitempty"`
	MaxPerHost  int          `json:"max_per_host,omitempty"` // 0: any number
	Near        []string     `json:"near,omitempty"`         // containers of the app that must run on the host
	Apart       []string     `json:"apart,omitempty"`        // containers of the app that must not
	Resources   Resources    `json:"resources"`
	Volumes     []Volume     `json:"volumes,omitempty"`
	DependsOn   []Dependency `json:"depends_on,omitempty"`

	Secrets []Secret `json:"secrets,omitempty"`
	Configs []Config `json:"configs,omitempty"`
}

// Mode is how many instances there are, and how long they run.
type Mode string

// The modes.
const (
	Replicated Mode = "replicated" // scale instances on the cluster; the default
	Global     Mode = "global"     // one on each suitable host
	JobMode    Mode = "job"        // runs to its end
)

// Pull is when a host pulls the image.
type Pull string

// When an image is pulled.
const (
	PullMissing Pull = "missing" // the default
	PullAlways  Pull = "always"  // once for each revision
	PullNever   Pull = "never"
)

// Service is a named port of the container that others may link to.
type Service struct {
	Port     int    `json:"port"`
	Protocol string `json:"protocol"` // "tcp", "http" or "udp"
	Role     string `json:"role,omitempty"`
	HostPort int    `json:"host_port,omitempty"` // fixed port on the host; 0: one that Docker chooses
	Weight   int    `json:"weight"`              // share among records of equal priority
	Priority int    `json:"priority"`            // lower is preferred
}

// UDP tells whether the service takes datagrams; else it takes connections, whatever they carry.
func (s Service) UDP() bool { return s.Protocol == "udp" }

// Link is a service that the container may reach.
type Link struct {
	To string `json:"to"` // "<service>" of the same app, or "<app>/<service>"
	As string `json:"as"` // its name in the environment's variables
	// Sticky has the container reach the same instance each time, for as long as that one can be reached.
	Sticky bool `json:"sticky,omitempty"`
}

// Defaults of a service.
const (
	DefaultWeight   = 100
	DefaultPriority = 10
)
