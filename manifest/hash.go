package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// Versions are the versions of secrets and configs that a revision uses, by source, and which
// restart of the same manifest it is.
type Versions struct {
	Secrets map[string]int `json:"secrets,omitempty"`
	Configs map[string]int `json:"configs,omitempty"`
	Restart int            `json:"restart,omitempty"`
}

// identity is the part of a manifest that makes a container what it is. Zero fields are left out,
// so that a field which a later version adds changes no hash of those who do not use it.
type identity struct {
	Job        bool              `json:"job,omitempty"`
	Image      string            `json:"image"`
	Command    []string          `json:"command,omitempty"`
	Entrypoint []string          `json:"entrypoint,omitempty"`
	Env        map[string]string `json:"env,omitempty"`
	User       string            `json:"user,omitempty"`
	WorkingDir string            `json:"working_dir,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Hostname   string            `json:"hostname,omitempty"`
	Ports      map[string][2]int `json:"ports,omitempty"` // of services, with the fixed port of the host
	UDP        []string          `json:"udp,omitempty"`   // services that take datagrams, by name
	Links      []Link            `json:"links,omitempty"`
	CPUs       float64           `json:"cpus,omitempty"`
	Memory     int64             `json:"memory,omitempty"`
	Volumes    []Volume          `json:"volumes,omitempty"`
	Secrets    []Secret          `json:"secrets,omitempty"`
	Configs    []Config          `json:"configs,omitempty"`
	Versions   Versions          `json:"versions,omitzero"`
}

// RevisionHash identifies what an update replaces containers for. Everything that can be changed
// around a container that runs is left out: changing it restarts nothing.
func (m *Manifest) RevisionHash(versions Versions) string {
	id := identity{Job: m.Mode == JobMode, Image: m.Image, Command: m.Command, Entrypoint: m.Entrypoint, Env: m.Env, User: m.User,
		WorkingDir: m.WorkingDir, Labels: m.Labels, Hostname: m.Hostname, Links: m.Links, CPUs: m.Resources.CPUs,
		Memory: m.Resources.Memory, Secrets: m.Secrets, Configs: m.Configs, Versions: versions}
	for name, s := range m.Services {
		if id.Ports == nil {
			id.Ports = map[string][2]int{}
		}
		id.Ports[name] = [2]int{s.Port, s.HostPort}
		if s.UDP() {
			id.UDP = append(id.UDP, name)
		}
	}
	slices.Sort(id.UDP)
	for _, v := range m.Volumes {
		v.OnHostLoss = ""
		id.Volumes = append(id.Volumes, v)
	}
	// It holds nothing that cannot be marshalled, and maps are marshalled sorted.
	data, err := json.Marshal(id)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}
