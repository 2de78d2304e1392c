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
	RecordsDir   = "/skydns/local/skydns" // DNS records of services: <app>/<service>[/udp]/<instance>
	ClusterKey   = "/dokkaa/cluster"      // the cluster's id, made once
	SchedulerKey = "/dokkaa/scheduler"    // the scheduler's lease
	SettingsKey  = "/dokkaa/settings"     // Settings, written by the operator
	EventsDir    = "/dokkaa/events"       // Events, each under a key that etcd numbers
	SecretsDir   = "/dokkaa/secrets"      // <app>/<name>/<version>
	ConfigsDir   = "/dokkaa/configs"      // <app>/<name>/<version>
	RestoringKey = "/dokkaa/restoring"    // there while a restore has not come to its end
	LeavingDir   = "/dokkaa/leaving"      // hosts, by address, that are on their way out of the cluster
)

// LeavingKey is the key that says that the operator is taking the host out of the cluster.
func LeavingKey(ip string) string { return LeavingDir + "/" + ip }

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

// HostDir is the directory of everything about a host.
func HostDir(ip string) string { return HostsDir + "/" + ip }

// HostLeaseKey is the key of a host's lease, which holds a Host.
func HostLeaseKey(ip string) string { return HostsDir + "/" + ip + "/lease" }

// InstanceKey is the key of the Observed state of an instance on a host.
func InstanceKey(ip, instance string) string { return HostsDir + "/" + ip + "/instances/" + instance }

// ScaleKey is the key of a Scale that overrides the manifest's.
func (r Ref) ScaleKey() string { return r.Dir() + "/scale" }

// RolloutKey is the key of the Rollout that is under way.
func (r Ref) RolloutKey() string { return r.Dir() + "/rollout" }

// PromoteKey is the key that a person writes the number of a revision to whose canaries are good.
func (r Ref) PromoteKey() string { return r.Dir() + "/promote" }

// RestartKey is the key of a number: a greater one has all instances replaced, as a changed manifest
// does.
func (r Ref) RestartKey() string { return r.Dir() + "/restart" }

// ParseRestart reads the value of a RestartKey; what is no number counts as none, 0.
func ParseRestart(value string) int {
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0
	}
	return max(0, n)
}

// RunKey is the key of a job's Run.
func (r Ref) RunKey(id string) string { return r.Dir() + "/runs/" + id }

// AppKey is the part of a key below /apps/<app>/<name>/: Kind is "manifest", "status", "scale",
// "rollout", "promote", "restart", "hosts", "revisions" or "runs", Item the slot or revision number where
// there is one, ID the id of a run.
type AppKey struct {
	Ref
	Kind string
	Item int
	ID   string
}

// ParseAppKey reads a key below /apps; ok is false for one that is not ours.
func ParseAppKey(key string) (k AppKey, ok bool) {
	parts := strings.Split(strings.TrimPrefix(key, AppsDir+"/"), "/")
	if !strings.HasPrefix(key, AppsDir+"/") || len(parts) < 3 || len(parts) > 4 {
		return k, false
	}
	k = AppKey{Ref: Ref{App: parts[0], Name: parts[1]}, Kind: parts[2]}
	if len(parts) == 4 && k.Kind == "runs" {
		k.ID = parts[3]
		return k, k.ID != ""
	}
	if len(parts) == 4 {
		item, err := strconv.Atoi(parts[3])
		if err != nil || item < 1 || strconv.Itoa(item) != parts[3] {
			return k, false
		}
		k.Item = item
	}
	return k, true
}

// HostKey is the part of a key below /hosts/<ip>/: Kind is "lease", "info", "availability",
// "labels", "instances", "volumes", "removals" or "images", Item the instance's id, or the
// volume's or image's name.
type HostKey struct {
	IP   string
	Kind string
	Item string
}

// ParseHostKey reads a key below /hosts; ok is false for one that is not ours.
func ParseHostKey(key string) (k HostKey, ok bool) {
	parts := strings.Split(strings.TrimPrefix(key, HostsDir+"/"), "/")
	if !strings.HasPrefix(key, HostsDir+"/") || len(parts) < 2 {
		return k, false
	}
	k = HostKey{IP: parts[0], Kind: parts[1]}
	switch k.Kind {
	case "lease", "info", "availability", "labels":
		return k, len(parts) == 2
	case "instances", "volumes", "removals", "images":
		if len(parts) == 3 {
			k.Item = parts[2]
			return k, true
		}
	}
	return HostKey{}, false
}

// AvailabilityKey is the key of a host's Availability, which the operator writes.
func AvailabilityKey(ip string) string { return HostsDir + "/" + ip + "/availability" }

// HostLabelsKey is the key of labels, a JSON object of strings, that the operator gave a host
// beside its own; they win.
func HostLabelsKey(ip string) string { return HostsDir + "/" + ip + "/labels" }

// VolumeKey is the key of a Volume that a host has, by its name in Docker.
func VolumeKey(ip, volume string) string { return HostsDir + "/" + ip + "/volumes/" + volume }

// RemovalsDir is the directory of the requests to a host to remove volumes.
func RemovalsDir(ip string) string { return HostsDir + "/" + ip + "/removals" }

// RemovalKey is the key by which the operator asks a host to remove a volume that nothing uses. It
// is empty or holds a Removal, and goes when the volume is removed.
func RemovalKey(ip, volume string) string { return RemovalsDir(ip) + "/" + volume }

// ImagesDir is the directory of the Images that a host's conductor pulled.
func ImagesDir(ip string) string { return HostsDir + "/" + ip + "/images" }

// ImageKey is the key of an Image, by its id.
func ImageKey(ip, id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return ImagesDir(ip) + "/" + id[:min(len(id), imageIDLength)]
}

// SecretKey is the key of a version of a secret, encrypted with the cluster's key.
func SecretKey(app, name string, version int) string {
	return SecretsDir + "/" + app + "/" + name + "/" + strconv.Itoa(version)
}

// ConfigKey is the key of a version of a config, as it is.
func ConfigKey(app, name string, version int) string {
	return ConfigsDir + "/" + app + "/" + name + "/" + strconv.Itoa(version)
}

// InstancesDir is the directory of the Observed states of a host's instances.
func InstancesDir(ip string) string { return HostsDir + "/" + ip + "/instances" }

// HostInfoKey is the key of a Host that stays when the host's lease ends: the cluster's memory
// of the hosts it has.
func HostInfoKey(ip string) string { return HostsDir + "/" + ip + "/info" }

const (
	instanceIDLength = 12
	imageIDLength    = 12 // as Docker shows it
)

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

// UDPRecordKey is RecordKey for a service that takes datagrams. Its name in DNS tells it from one
// that takes connections, whose port may have the same number; who asks for the service's name gets both.
func UDPRecordKey(app, service, instance string) string {
	return RecordKey(app, service, udpLabel+"/"+instance)
}

const udpLabel = "udp"

// IsInstanceRecord tells the records of instances from what else users may have put beside them.
func IsInstanceRecord(key string) bool {
	rest, found := strings.CutPrefix(key, RecordsDir+"/")
	parts := strings.Split(rest, "/")
	if len(parts) == 4 && parts[2] == udpLabel {
		return found && IsInstanceID(parts[3])
	}
	return found && len(parts) == 3 && IsInstanceID(parts[2])
}
