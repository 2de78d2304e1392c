package manifest

// Volume is a named volume of Docker that outlives the instances that it is mounted in.
type Volume struct {
	Name       string            `json:"name"`
	Path       string            `json:"path"` // in the container
	Driver     string            `json:"driver"`
	DriverOpts map[string]string `json:"driver_opts,omitempty"`
	AccessMode AccessMode        `json:"access_mode"`
	ReadOnly   bool              `json:"read_only,omitempty"`
	OnHostLoss string            `json:"on_host_loss"` // VolumeWait or VolumeMoveEmpty
}

// AccessMode is who may have a volume mounted at a time.
type AccessMode string

// The access modes.
const (
	SingleWriter AccessMode = "single-writer" // a volume for each slot, in one container at a time; the default
	SingleHost   AccessMode = "single-host"   // one volume, shared by all instances, which run on one host
	MultiWriter  AccessMode = "multi-writer"  // one volume of a driver that hosts share
)

// What a slot does whose volume is on a host that is lost.
const (
	VolumeWait      = "wait"       // for the host; the default
	VolumeMoveEmpty = "move_empty" // start elsewhere with an empty volume
)

// LocalDriver is Docker's own driver of volumes.
const LocalDriver = "local"

// Movable tells whether the volume's content is the same on every host: its driver is not Docker's
// own, or mounts something from the network.
func (v Volume) Movable() bool {
	switch v.DriverOpts["type"] {
	case "nfs", "nfs4", "cifs", "9p":
		return true
	}
	return v.Driver != LocalDriver
}

// DockerName is the volume's name in Docker for a slot.
func (v Volume) DockerName(app, name string, slot int) string {
	if v.AccessMode == SingleWriter {
		return ContainerName(app, name, slot) + "---" + v.Name
	}
	return ContainerName(app, name, 1) + "---" + v.Name
}

// SingleWriter tells whether the container has a volume that one instance may write at a time.
func (m *Manifest) SingleWriter() bool {
	for _, v := range m.Volumes {
		if v.AccessMode == SingleWriter && !v.ReadOnly {
			return true
		}
	}
	return false
}

// Fenced tells whether two hosts could write the same volume at once if nobody took care.
func (m *Manifest) Fenced() bool {
	for _, v := range m.Volumes {
		if v.AccessMode == SingleWriter && !v.ReadOnly && v.Movable() {
			return true
		}
	}
	return false
}

// Secret is a value of the cluster's that the container finds in a file.
type Secret struct {
	Source string   `json:"source"` // its name in the app, with "@<version>" if it is to stay at that
	Path   string   `json:"path"`   // of the file, /run/secrets/<name> by default
	Mode   FileMode `json:"mode"`
	UID    int      `json:"uid,omitempty"`
	GID    int      `json:"gid,omitempty"`
}

// Config is a file that the container finds.
type Config struct {
	Source  string   `json:"source,omitempty"` // as of a Secret; either this or Content
	Content string   `json:"content,omitempty"`
	Path    string   `json:"path"`
	Mode    FileMode `json:"mode"`
	UID     int      `json:"uid,omitempty"`
	GID     int      `json:"gid,omitempty"`
}

// Defaults of files.
const (
	SecretsDir        = "/run/secrets"
	DefaultSecretMode = 0o400
	DefaultConfigMode = 0o444
)
