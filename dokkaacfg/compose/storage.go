package compose

import (
	"cmp"
	"fmt"
	"path"
	"strconv"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/dokkaa/dokkaa/manifest"
)

// volumes takes over named volumes, and those without a name.
func (c *conversion) volumes(d *draft, s types.ServiceConfig) {
	for i, v := range s.Volumes {
		switch v.Type {
		case types.VolumeTypeVolume:
		case types.VolumeTypeBind:
			c.note("%s: %s of the host is not mounted at %s: use a volume, or a config for a file", s.Name, relative(v.Source), v.Target)
			continue
		default:
			c.note("%s: the %s at %s is left out", s.Name, v.Type, v.Target)
			continue
		}
		name := label(v.Source)
		if v.Source == "" {
			name = fmt.Sprintf("volume-%d", i+1)
		}
		volume := map[string]any{"name": name, "path": path.Clean(v.Target)}
		if v.ReadOnly {
			volume["read_only"] = true
		}
		if v.Volume != nil && v.Volume.Subpath != "" {
			c.note("%s: subpath %s of volume %s is left out", s.Name, v.Volume.Subpath, name)
		}
		if d.Scale != nil && *d.Scale > 1 || d.Mode == string(manifest.Global) {
			c.note("%s: each instance has a volume %s of its own", s.Name, name)
		}
		c.driver(volume, s, v.Source)
		d.Volumes = append(d.Volumes, volume)
	}
}

// driver takes over what the file says of a volume as such.
func (c *conversion) driver(volume map[string]any, s types.ServiceConfig, source string) {
	of, there := c.project.Volumes[source]
	if !there {
		return
	}
	if of.Driver != "" && of.Driver != "local" {
		volume["driver"] = of.Driver
	}
	if len(of.DriverOpts) > 0 {
		volume["driver_opts"] = of.DriverOpts
	}
	if bool(of.External) {
		c.note("%s: volume %s is made anew, what the external one holds is not in it", s.Name, source)
	}
	for _, other := range c.project.ServiceNames() {
		if other == s.Name || of.Driver != "" && of.Driver != "local" {
			continue
		}
		for _, v := range c.project.Services[other].Volumes {
			if v.Type == types.VolumeTypeVolume && v.Source == source {
				c.note("%s: shares volume %s with %s there, and has one of its own here", s.Name, source, other)
			}
		}
	}
}

// values takes over secrets and configs, and says how to set them.
func (c *conversion) values(d *draft, s types.ServiceConfig) {
	for _, v := range s.Secrets {
		c.noteValue("secret", v.Source, types.FileObjectConfig(c.project.Secrets[v.Source]))
		secret := reference(types.FileReferenceConfig(v))
		if v.Target != "" && absolute(v.Target, "/run/secrets") != "/run/secrets/"+v.Source {
			secret["path"] = absolute(v.Target, "/run/secrets")
		}
		if len(secret) == 1 {
			d.Secrets = append(d.Secrets, v.Source)
		} else {
			d.Secrets = append(d.Secrets, secret)
		}
	}
	for _, v := range s.Configs {
		config := reference(types.FileReferenceConfig(v))
		config["path"] = absolute(cmp.Or(v.Target, v.Source), "/")
		if of := types.FileObjectConfig(c.project.Configs[v.Source]); of.Content != "" {
			delete(config, "source")
			config["content"] = of.Content
		} else {
			c.noteValue("config", v.Source, of)
		}
		d.Configs = append(d.Configs, config)
	}
}

// noteValue says how to set a secret or config.
func (c *conversion) noteValue(kind, name string, of types.FileObjectConfig) {
	of.Name = c.app + "/" + name
	switch {
	case of.File != "":
		c.note("%s %s: dokkaacfg %s set %s --file=%s", kind, name, kind, of.Name, relative(of.File))
	case of.Environment != "":
		c.note("%s %s: printf %%s \"$%s\" | dokkaacfg %s set %s", kind, name, of.Environment, kind, of.Name)
	default:
		c.note("%s %s: dokkaacfg %s set %s, from where it is now", kind, name, kind, of.Name)
	}
}

// reference is what secrets and configs have in common.
func reference(v types.FileReferenceConfig) map[string]any {
	r := map[string]any{"source": v.Source}
	if v.Mode != nil {
		r["mode"] = fmt.Sprintf("%04o", int64(*v.Mode))
	}
	for field, text := range map[string]string{"uid": v.UID, "gid": v.GID} {
		if n, err := strconv.Atoi(text); err == nil && n != 0 {
			r[field] = n
		}
	}
	return r
}

func absolute(name, dir string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(dir, name)
}
