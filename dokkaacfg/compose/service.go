package compose

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// draft is a manifest as a person would write it: nothing that is so by default.
type draft struct {
	Image           string            `json:"image"`
	Mode            string            `json:"mode,omitempty"`
	Scale           *int              `json:"scale,omitempty"`
	Entrypoint      []string          `json:"entrypoint,omitempty"`
	Command         []string          `json:"command,omitempty"`
	Env             map[string]string `json:"env,omitempty"`
	User            string            `json:"user,omitempty"`
	WorkingDir      string            `json:"working_dir,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	Hostname        string            `json:"hostname,omitempty"`
	Pull            string            `json:"pull,omitempty"`
	Services        map[string]any    `json:"services,omitempty"`
	Links           []any             `json:"links,omitempty"`
	Checks          []map[string]any  `json:"checks,omitempty"`
	Restart         map[string]any    `json:"restart,omitempty"`
	Update          map[string]any    `json:"update,omitempty"`
	StopGracePeriod string            `json:"stop_grace_period,omitempty"`
	Constraints     []string          `json:"constraints,omitempty"`
	Spread          []string          `json:"spread,omitempty"`
	MaxPerHost      int               `json:"max_per_host,omitempty"`
	Resources       map[string]any    `json:"resources,omitempty"`
	Volumes         []map[string]any  `json:"volumes,omitempty"`
	DependsOn       []any             `json:"depends_on,omitempty"`
	Secrets         []any             `json:"secrets,omitempty"`
	Configs         []map[string]any  `json:"configs,omitempty"`
}

// carried are the fields of a service that have a counterpart; what of their values has none is
// noted where they are converted.
var carried = []string{"image", "scale", "deploy", "entrypoint", "command", "environment", "env_file", "user", "working_dir", "labels",
	"label_file", "hostname", "pull_policy", "expose", "ports", "links", "depends_on", "healthcheck", "restart", "stop_grace_period",
	"cpus", "mem_limit", "mem_reservation", "volumes", "secrets", "configs", "networks", "profiles", "build", "extends", "attach", "develop", "platform"}

// instead says what to do about fields that have none.
var instead = map[string]string{
	"container_name": "containers are named after app and name",
	"network_mode":   "a container has its own network, and reaches what it links to",
	"external_links": "link to the container of the other app: <app>/<service>",
	"privileged":     "this version does not have it", "cap_add": "this version does not have it", "cap_drop": "this version does not have it",
	"devices": "this version does not have it", "ulimits": "this version does not have it", "read_only": "this version does not have it",
	"tmpfs": "this version does not have it", "logging": "logs are as Docker on the host keeps them", "stop_signal": "the image's own is sent",
}

// noteTheRest notes each field of the service that no manifest can carry.
func (c *conversion) noteTheRest(s types.ServiceConfig) {
	var fields map[string]json.RawMessage
	data, err := json.Marshal(s)
	if err != nil || json.Unmarshal(data, &fields) != nil {
		c.note("%s: what it holds beside the usual cannot be told", s.Name)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if slices.Contains(carried, name) || string(fields[name]) == "null" {
			continue
		}
		why := ""
		if reason := instead[name]; reason != "" {
			why = ": " + reason
		}
		c.note("%s: %s is left out%s", s.Name, name, why)
	}
}

// draft makes the manifest of a service.
func (c *conversion) draft(s types.ServiceConfig) draft {
	d := draft{Image: s.Image, User: s.User, WorkingDir: s.WorkingDir, Hostname: s.Hostname, Labels: s.Labels,
		Entrypoint: s.Entrypoint, Command: s.Command}
	c.image(&d, s)
	if s.StopGracePeriod != nil {
		d.StopGracePeriod = duration(*s.StopGracePeriod)
	}
	if s.Entrypoint != nil && len(s.Entrypoint) == 0 || s.Command != nil && len(s.Command) == 0 {
		c.note("%s: an empty command or entrypoint, which takes the image's away, is left out", s.Name)
	}
	links := c.network(&d, s)
	c.environment(&d, s, links)
	c.dependencies(&d, s)
	c.checks(&d, s)
	c.scale(&d, s)
	c.restart(&d, s)
	c.update(&d, s)
	c.placement(&d, s)
	c.resources(&d, s)
	c.volumes(&d, s)
	c.values(&d, s)
	return d
}

func (c *conversion) image(d *draft, s types.ServiceConfig) {
	if s.Build != nil {
		if d.Image == "" {
			d.Image = c.app + "/" + c.names[s.Name]
		}
		c.note("%s: nothing is built; build image %s, and push it to a registry that the hosts reach, or load it on each", s.Name, d.Image)
	}
	switch s.PullPolicy {
	case "":
	case types.PullPolicyAlways, types.PullPolicyNever:
		d.Pull = s.PullPolicy
	case types.PullPolicyMissing, types.PullPolicyIfNotPresent:
	default:
		c.note("%s: pull_policy %s is left out; images are pulled where they are missing", s.Name, s.PullPolicy)
	}
}

// environment takes over the variables. Where one names another service and its port, it is given
// the address by which the container reaches that here.
func (c *conversion) environment(d *draft, s types.ServiceConfig, links []target) {
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		value := s.Environment[name]
		if value == nil {
			c.note("%s: variable %s has no value: it is not set where this runs", s.Name, name)
			continue
		}
		if d.Env == nil {
			d.Env = map[string]string{}
		}
		d.Env[name] = c.rewrite(s, name, *value, links)
	}
}

// duration is a time as manifests have it.
func duration(d types.Duration) string {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
