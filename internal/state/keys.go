// Package state is what stands in etcd: the keys, and the JSON below them. It is the
// vocabulary that the daemons and the command line share; it does no I/O.
//
// Readers ignore unknown fields, so that old and new versions of the daemons work side by side.
package state

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"strings"
)

// Directories and single keys.
const (
	AppsDir      = "/apps"
	HostsDir     = "/hosts"
	RecordsDir   = "/skydns/local/skydns" // DNS records of services: <app>/<service>/<instance>
	ClusterKey   = "/dokkaa/cluster"      // the cluster's id, made once
	SchedulerKey = "/dokkaa/scheduler"    // the scheduler's lease
)

// Ref names a container of an application.
type Ref struct {
	App  string `json:"app"`
	Name string `json:"name"`
}

func (r Ref) String() string { return r.App + "/" + r.Name }

// Dir is the directory of everything about the container.
func (r Ref) Dir() string { return AppsDir + "/" + r.App + "/" + r.Name }

// ManifestKey is the key that the user writes.
func (r Ref) ManifestKey() string { return r.Dir() + "/manifest" }

// StatusKey is the key of the container's Status.
func (r Ref) StatusKey() string { return r.Dir() + "/status" }

// SlotKey is the key of a Slot.
func (r Ref) SlotKey(slot int) string { return r.Dir() + "/hosts/" + strconv.Itoa(slot) }

// RevisionKey is the key of a Revision.
func (r Ref) RevisionKey(revision int) string {
	return r.Dir() + "/revisions/" + strconv.Itoa(revision)
}

// HostLeaseKey is the key of a host's lease, which holds a Host.
func HostLeaseKey(ip string) string { return HostsDir + "/" + ip + "/lease" }

// InstanceKey is the key of the Observed state of an instance on a host.
func InstanceKey(ip, instance string) string { return HostsDir + "/" + ip + "/instances/" + instance }

// AppKey is the part of a key below /apps/<app>/<name>/: Kind is "manifest", "hosts",
// "revisions" or "status", Item the slot or revision number where there is one.
type AppKey struct {
	Ref
	Kind string
	Item int
}

// ParseAppKey reads a key below /apps; ok is false for one that is not ours.
func ParseAppKey(key string) (k AppKey, ok bool) {
	parts := strings.Split(strings.TrimPrefix(key, AppsDir+"/"), "/")
	if !strings.HasPrefix(key, AppsDir+"/") || len(parts) < 3 || len(parts) > 4 {
		return k, false
	}
	k = AppKey{Ref: Ref{App: parts[0], Name: parts[1]}, Kind: parts[2]}
	if len(parts) == 4 {
		item, err := strconv.Atoi(parts[3])
		if err != nil || item < 1 || strconv.Itoa(item) != parts[3] {
			return k, false
		}
		k.Item = item
	}
	return k, true
}

// RefOf is the container that a key or directory below /apps belongs to, zero if there is none.
func RefOf(key string) Ref {
	parts := strings.Split(strings.TrimPrefix(key, AppsDir+"/"), "/")
	if !strings.HasPrefix(key, AppsDir+"/") || len(parts) < 2 {
		return Ref{}
	}
	return Ref{App: parts[0], Name: parts[1]}
}

// ParseHostKey reads a key below /hosts: the host, and "lease", "info" or
// "instances" with an instance's id.
func ParseHostKey(key string) (ip, kind, instance string, ok bool) {
	parts := strings.Split(strings.TrimPrefix(key, HostsDir+"/"), "/")
	switch {
	case !strings.HasPrefix(key, HostsDir+"/"):
	case len(parts) == 2 && (parts[1] == "lease" || parts[1] == "info"):
		return parts[0], parts[1], "", true
	case len(parts) == 3 && parts[1] == "instances":
		return parts[0], "instances", parts[2], true
	}
	return "", "", "", false
}

// InstancesDir is the directory of the Observed states of a host's instances.
func InstancesDir(ip string) string { return HostsDir + "/" + ip + "/instances" }

// HostInfoKey is the key of a Host that stays when the host's lease ends: the cluster's memory
// of the hosts it has.
func HostInfoKey(ip string) string { return HostsDir + "/" + ip + "/info" }

const instanceIDLength = 12

// NewInstanceID makes the id of an instance, which is a DNS label.
func NewInstanceID() string {
	var id [instanceIDLength / 2]byte
	rand.Read(id[:]) // never fails
	return "i" + hex.EncodeToString(id[:])
}

// IsInstanceID tells whether s is of the form that NewInstanceID makes.
func IsInstanceID(s string) bool {
	if len(s) != instanceIDLength+1 || s[0] != 'i' {
		return false
	}
	_, err := hex.DecodeString(s[1:])
	return err == nil
}

// RecordKey is the key of the DNS record of an instance's service.
func RecordKey(app, service, instance string) string {
	return RecordsDir + "/" + app + "/" + service + "/" + instance
}

// IsInstanceRecord tells the records of instances from what else users may have put beside them.
func IsInstanceRecord(key string) bool {
	rest, found := strings.CutPrefix(key, RecordsDir+"/")
	parts := strings.Split(rest, "/")
	return found && len(parts) == 3 && IsInstanceID(parts[2])
}
