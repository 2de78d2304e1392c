// Package manifest is what a user writes: one container of an application, as JSON at the
// etcd key /apps/<app>/<name>/manifest, and everything that is derived from it alone.
package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Manifest is a parsed and validated manifest with its defaults filled in.
type Manifest struct {
	Image    string             `json:"image"`
	Command  []string           `json:"command,omitempty"`
	Env      map[string]string  `json:"env,omitempty"`
	Scale    int                `json:"scale"` // instances on the cluster
	Services map[string]Service `json:"services,omitempty"`
	Links    []Link             `json:"links,omitempty"`
}

// Service is a named port of the container that others may link to.
type Service struct {
	Port     int    `json:"port"`
	Protocol string `json:"protocol"` // "tcp" or "http"
	Role     string `json:"role,omitempty"`
	Weight   int    `json:"weight"`   // share among records of equal priority
	Priority int    `json:"priority"` // lower is preferred
}

// Link is a service that the container may reach.
type Link struct {
	To string `json:"to"` // "<service>" of the same app, or "<app>/<service>"
	As string `json:"as"` // its name in the environment's variables
}

// Defaults of a service.
const (
	DefaultWeight   = 100
	DefaultPriority = 10
)

// RevisionHash identifies what an update replaces containers for. The scale is left out:
// changing it restarts nothing.
func (m *Manifest) RevisionHash() string {
	canonical := *m
	canonical.Scale = 0
	// A Manifest holds nothing that cannot be marshalled, and maps are marshalled sorted.
	data, err := json.Marshal(canonical)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}
