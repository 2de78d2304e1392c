package manifest

import (
	"encoding/json"
	"regexp"
	"strings"
)

var driverName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.:/-]{0,200}$`)

func (d *decoder) volumes(path string, value json.RawMessage) []Volume {
	volumes := list(d, maxEntries, d.volume)(path, value)
	names, paths := map[string]int{}, map[string]int{}
	for i, v := range volumes {
		if other, taken := names[v.Name]; taken && v.Name != "" {
			d.errs.addf(join(index(path, i), "name"), "%q is already that of %s[%d]", v.Name, path, other)
		}
		if other, taken := paths[v.Path]; taken && v.Path != "" {
			d.errs.addf(join(index(path, i), "path"), "%q is already that of %s[%d]", v.Path, path, other)
		}
		names[v.Name], paths[v.Path] = i, i
	}
	return volumes
}

func (d *decoder) volume(path string, value json.RawMessage) Volume {
	v := Volume{Driver: LocalDriver, AccessMode: SingleWriter, OnHostLoss: VolumeWait}
	given := d.read(path, value, fields{
		"name":         into(&v.Name, d.label),
		"path":         into(&v.Path, d.volumePath),
		"driver":       into(&v.Driver, d.driver),
		"driver_opts":  into(&v.DriverOpts, d.texts),
		"access_mode":  into(&v.AccessMode, oneOf(d, SingleWriter, SingleHost, MultiWriter)),
		"read_only":    into(&v.ReadOnly, d.flag),
		"on_host_loss": into(&v.OnHostLoss, oneOf(d, VolumeWait, VolumeMoveEmpty)),
	})
	d.require(path, value, given, "name", "path")
	if d.errs.sound(path) {
		d.checkVolume(path, v)
	}
	return v
}

func (d *decoder) driver(path string, value json.RawMessage) string {
	driver := d.word(path, value)
	if driver != "" && !driverName.MatchString(driver) {
		d.errs.addf(path, "%q is not the name of a driver", driver)
	}
	return driver
}

func (d *decoder) volumePath(path string, value json.RawMessage) string {
	dir := d.containerPath(path, value)
	if strings.Contains(dir, ":") {
		d.errs.add(path, `must not contain ":"`)
	}
	return dir
}

// checkVolume finds what no volume can be.
func (d *decoder) checkVolume(path string, v Volume) {
	if v.Driver == LocalDriver {
		d.checkLocal(join(path, "driver_opts"), v.DriverOpts)
	}
	switch {
	case v.AccessMode == MultiWriter && !v.Movable():
		d.errs.addf(join(path, "access_mode"), "%q needs a driver whose volumes are the same on every host; those of %q are each on one host. "+
			"%q shares one among instances on one host", MultiWriter, v.Driver, SingleHost)
	case v.OnHostLoss == VolumeMoveEmpty && v.Movable():
		d.errs.addf(join(path, "on_host_loss"), "%q is for volumes that are on one host; this one is the same on every host", VolumeMoveEmpty)
	}
}

// checkLocal lets Docker's own driver mount what is no part of the host: nothing, memory, or a
// file system of the network. Anything else, down to the host's disks, is reached by its type and
// options.
func (d *decoder) checkLocal(path string, options map[string]string) {
	const why = "reaches into the host's own files, which is not permitted by this version"
	switch kind := options["type"]; kind {
	case "nfs", "nfs4", "cifs", "9p", "tmpfs":
	case "":
		if options["device"] != "" || options["o"] != "" {
			d.errs.addf(join(path, "type"), "is missing: a device without the type of a network's file system "+why)
		}
	default:
		d.errs.addf(join(path, "type"), "%q "+why, kind)
	}
	for option := range strings.SplitSeq(options["o"], ",") {
		switch strings.ToLower(strings.TrimSpace(option)) {
		case "bind", "rbind", "remount":
			d.errs.addf(join(path, "o"), "%q "+why, option)
		}
	}
}
