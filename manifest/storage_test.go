package manifest_test

import (
	"testing"

	"github.com/dokkaa/dokkaa/manifest"
)

func TestResources(t *testing.T) {
	for text, want := range map[string]int64{`"16384k"`: 16 << 20, `"256m"`: 256 << 20, `"256M"`: 256 << 20, `"1g"`: 1 << 30, `"6291456"`: 6 << 20, `6291456`: 6 << 20, `0`: 0, `"0m"`: 0} {
		equal(t, parse(t, `"resources": {"memory": `+text+`}`).Resources.Memory, want)
	}
	r := parse(t, `"resources": {"cpus": 0.5, "memory": "1g", "reserve": {"cpus": 0.01, "memory": "1k"}}`).Resources
	equal(t, r, manifest.Resources{CPUs: 0.5, Memory: 1 << 30, Reserve: manifest.Reservation{CPUs: 0.01, Memory: 1024}})
	equal(t, parse(t, `"resources": {"reserve": {"cpus": 4, "memory": "1g"}}`).Resources.CPUs, 0)

	const form = `must be a size such as "256m" (k, m or g, in steps of 1024) or a number of bytes, is `
	refusals{
		"unit":          {`"resources": {"memory": "256Mi"}`, []string{`resources.memory: ` + form + `"256Mi"`}},
		"fraction":      {`"resources": {"memory": "1.5g"}`, []string{`resources.memory: ` + form + `"1.5g"`}},
		"part of bytes": {`"resources": {"memory": 1.5}`, []string{`resources.memory: ` + form + `1.5`}},
		"negative":      {`"resources": {"memory": -1}`, []string{`resources.memory: ` + form + `-1`}},
		"overflow":      {`"resources": {"memory": "9223372036854775807g"}`, []string{`resources.memory: ` + form + `"9223372036854775807g"`}},
		"empty":         {`"resources": {"memory": ""}`, []string{`resources.memory: ` + form + `""`}},
		"null":          {`"resources": {"memory": null}`, []string{`resources.memory: ` + form + `null`}},
		"too little":    {`"resources": {"memory": "5m"}`, []string{`resources.memory: must be between 6291456 and 1125899906842624 bytes, is 5242880`}},
		"cpus text":     {`"resources": {"cpus": "1"}`, []string{`resources.cpus: must be a number of cores such as 0.5, is "1"`}},
		"cpus crumbs":   {`"resources": {"cpus": 0.001}`, []string{`resources.cpus: must be between 0.01 and 10000, is 0.001`}},
		"cpus negative": {`"resources": {"cpus": -1}`, []string{`resources.cpus: must be between 0.01 and 10000, is -1`}},
		"more reserved": {`"resources": {"cpus": 1, "memory": "10m", "reserve": {"cpus": 2, "memory": "20m"}}`, []string{
			`resources.reserve.cpus: must not be more than the limit, which is 1`, `resources.reserve.memory: must not be more than the limit, which is 10485760 bytes`}},
		"unknown": {`"resources": {"reserve": {"disk": 1}}`, []string{`resources.reserve.disk: unknown field`}},
	}.check(t)
}

func TestVolumes(t *testing.T) {
	volumes := parse(t, `"scale": 3, "volumes": [{"name": "data", "path": "/var/lib/db"},
		{"name": "all", "path": "/all", "driver": "ceph/rbd:2", "access_mode": "multi-writer", "read_only": true},
		{"name": "cache", "path": "/cache", "access_mode": "single-host", "on_host_loss": "move_empty", "driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": "size=100m"}},
		{"name": "nfs", "path": "/nfs", "access_mode": "multi-writer", "driver_opts": {"type": "nfs4", "device": ":/x", "o": "addr=10.0.0.1,rw"}}]`).Volumes
	equal(t, volumes[0], manifest.Volume{Name: "data", Path: "/var/lib/db", Driver: manifest.LocalDriver, AccessMode: manifest.SingleWriter, OnHostLoss: manifest.VolumeWait})
	equal(t, volumes[1], manifest.Volume{Name: "all", Path: "/all", Driver: "ceph/rbd:2", AccessMode: manifest.MultiWriter, ReadOnly: true, OnHostLoss: manifest.VolumeWait})
	equal(t, volumes[2].OnHostLoss, manifest.VolumeMoveEmpty)
	equal(t, volumes[3].Movable(), true)
}

func TestVolumesRefuse(t *testing.T) {
	const reaches = `reaches into the host's own files, which is not permitted by this version`
	with := func(fields string) string { return `"volumes": [{"name": "a", "path": "/a", ` + fields + `}]` }
	at := func(path string) string { return `"volumes": [{"name": "a", "path": "` + path + `"}]` }
	refusals{
		"short form":     {`"volumes": ["data:/data"]`, []string{`volumes[0]: must be an object, is "data:/data"`}},
		"empty":          {`"volumes": [{}]`, []string{`volumes[0].name: is missing`, `volumes[0].path: is missing`}},
		"name":           {`"volumes": [{"name": "/etc", "path": "/a"}]`, []string{`volumes[0].name: "/etc" is not a DNS label (lower-case letters, digits and hyphens, no hyphen at either end)`}},
		"relative":       {at("a"), []string{`volumes[0].path: must begin with "/", is "a"`}},
		"not clean":      {at("/a/../b/"), []string{`volumes[0].path: must be "/b", is "/a/../b/"`}},
		"root":           {at("/"), []string{`volumes[0].path: must not be the root of the container's file system`}},
		"proc":           {at("/proc/1"), []string{`volumes[0].path: must not be in /proc, which is the kernel's`}},
		"sys":            {at("/sys"), []string{`volumes[0].path: must not be in /sys, which is the kernel's`}},
		"dev":            {at("/dev/shm"), []string{`volumes[0].path: must not be in /dev, which is the kernel's`}},
		"colon":          {at("/a:ro"), []string{`volumes[0].path: must not contain ":"`}},
		"line":           {at(`/a\nb`), []string{`volumes[0].path: must not contain control characters`}},
		"twice":          {`"volumes": [{"name": "a", "path": "/a"}, {"name": "a", "path": "/a"}]`, []string{`volumes[1].name: "a" is already that of volumes[0]`, `volumes[1].path: "/a" is already that of volumes[0]`}},
		"driver":         {with(`"driver": "../x"`), []string{`volumes[0].driver: "../x" is not the name of a driver`}},
		"opts":           {with(`"driver_opts": {"o": 1}`), []string{`volumes[0].driver_opts.o: must be a string, is 1`}},
		"bind":           {with(`"driver_opts": {"type": "none", "o": "bind", "device": "/etc"}`), []string{`volumes[0].driver_opts.type: "none" ` + reaches, `volumes[0].driver_opts.o: "bind" ` + reaches}},
		"bind as nfs":    {with(`"driver_opts": {"type": "nfs", "o": "rw,rbind", "device": "/etc"}`), []string{`volumes[0].driver_opts.o: "rbind" ` + reaches}},
		"disk":           {with(`"driver_opts": {"type": "ext4", "device": "/dev/sda1"}`), []string{`volumes[0].driver_opts.type: "ext4" ` + reaches}},
		"overlay":        {with(`"driver_opts": {"type": "overlay", "device": "overlay", "o": "lowerdir=/etc:/x"}`), []string{`volumes[0].driver_opts.type: "overlay" ` + reaches}},
		"device":         {with(`"driver_opts": {"device": "/etc"}`), []string{`volumes[0].driver_opts.type: is missing: a device without the type of a network's file system ` + reaches}},
		"access":         {with(`"access_mode": "rw"`), []string{`volumes[0].access_mode: must be "single-writer", "single-host" or "multi-writer", is "rw"`}},
		"many writers":   {with(`"access_mode": "multi-writer"`), []string{`volumes[0].access_mode: "multi-writer" needs a driver whose volumes are the same on every host; those of "local" are each on one host. "single-host" shares one among instances on one host`}},
		"on host loss":   {with(`"on_host_loss": "restore"`), []string{`volumes[0].on_host_loss: must be "wait" or "move_empty", is "restore"`}},
		"not on a host":  {with(`"driver": "ceph", "on_host_loss": "move_empty"`), []string{`volumes[0].on_host_loss: "move_empty" is for volumes that are on one host; this one is the same on every host`}},
		"global":         {`"mode": "global", ` + with(`"access_mode": "single-host"`), []string{`volumes[0].access_mode: "single-host" is one host, and mode "global" is all of them`}},
		"max per host":   {`"scale": 3, "max_per_host": 2, ` + with(`"access_mode": "single-host"`), []string{`volumes[0].access_mode: "single-host" puts all 3 instances on one host, and max_per_host is 2`}},
		"one port":       {`"scale": 2, "services": {"a": {"port": 1, "host_port": 80}}, ` + with(`"access_mode": "single-host"`), []string{`volumes[0].access_mode: "single-host" puts all 2 instances on one host, where only one can have a host_port`}},
		"read-only text": {with(`"read_only": "true"`), []string{`volumes[0].read_only: must be true or false, is "true"`}},
	}.check(t)
}

func TestFiles(t *testing.T) {
	m := parse(t, `"secrets": ["db_password", "key.pem@3", {"source": "a@12", "mode": "440", "uid": 1000, "gid": 0}, {"source": "a", "path": "/etc/a"}],
		"configs": [{"source": "nginx.conf@2", "path": "/etc/nginx.conf"}, {"content": "x", "path": "/etc/motd", "mode": "0000"}]`)
	equal(t, m.Secrets, []manifest.Secret{{Source: "db_password", Path: "/run/secrets/db_password", Mode: 0o400},
		{Source: "key.pem@3", Path: "/run/secrets/key.pem", Mode: 0o400}, {Source: "a@12", Path: "/run/secrets/a", Mode: 0o440, UID: 1000},
		{Source: "a", Path: "/etc/a", Mode: 0o400}})
	equal(t, m.Configs, []manifest.Config{{Source: "nginx.conf@2", Path: "/etc/nginx.conf", Mode: 0o444}, {Content: "x", Path: "/etc/motd"}})
	name, version := m.Secrets[1].Versioned()
	equal(t, name, "key.pem")
	equal(t, version, 3)
	name, version = m.Secrets[0].Versioned()
	equal(t, name, "db_password")
	equal(t, version, 0)
}

func TestFilesRefuse(t *testing.T) {
	const name = `must have the form "name" or "name@version" (lower-case letters, digits and . _ -), is `
	refusals{
		"capitals":         {`"secrets": ["DB"]`, []string{`secrets[0]: ` + name + `"DB"`}},
		"hidden":           {`"secrets": ["_a"]`, []string{`secrets[0]: ` + name + `"_a"`}},
		"up":               {`"secrets": [{"source": ".."}]`, []string{`secrets[0].source: ` + name + `".."`}},
		"other app":        {`"secrets": ["shop/a"]`, []string{`secrets[0]: ` + name + `"shop/a"`}},
		"version":          {`"secrets": ["a@latest"]`, []string{`secrets[0]: ` + name + `"a@latest"`}},
		"version 0":        {`"secrets": ["a@0"]`, []string{`secrets[0]: ` + name + `"a@0"`}},
		"no source":        {`"secrets": [{"path": "/a"}]`, []string{`secrets[0].source: is missing`}},
		"relative":         {`"secrets": [{"source": "a", "path": "a"}]`, []string{`secrets[0].path: must begin with "/", is "a"`}},
		"mode as number":   {`"secrets": [{"source": "a", "mode": 400}]`, []string{`secrets[0].mode: must be an octal number as text such as "0400", is 400`}},
		"mode in words":    {`"secrets": [{"source": "a", "mode": "u=r"}]`, []string{`secrets[0].mode: must be an octal number as text such as "0400", is "u=r"`}},
		"mode not octal":   {`"secrets": [{"source": "a", "mode": "0800"}]`, []string{`secrets[0].mode: must be an octal number as text such as "0400", is "0800"`}},
		"setuid":           {`"secrets": [{"source": "a", "mode": "4755"}]`, []string{`secrets[0].mode: must be at most 0777, is 4755`}},
		"uid":              {`"secrets": [{"source": "a", "uid": -1, "gid": "www"}]`, []string{`secrets[0].uid: must be between 0 and 2147483647, is -1`, `secrets[0].gid: must be a whole number, is "www"`}},
		"config text":      {`"configs": ["a"]`, []string{`configs[0]: must be an object, is "a"`}},
		"config empty":     {`"configs": [{}]`, []string{`configs[0].path: is missing`, `configs[0]: has neither a source nor a content`}},
		"config both":      {`"configs": [{"source": "a", "content": "b", "path": "/a"}]`, []string{`configs[0]: has a source and a content; it is one or the other`}},
		"config content":   {`"configs": [{"content": "", "path": "/a"}]`, []string{`configs[0].content: must not be empty`}},
		"same path":        {`"secrets": ["a"], "configs": [{"source": "a", "path": "/run/secrets/a"}]`, []string{`configs[0].path: "/run/secrets/a" is already that of secrets[0]`}},
		"secret twice":     {`"secrets": ["a@1", "a"]`, []string{`secrets[1].path: "/run/secrets/a" is already that of secrets[0]`}},
		"file in a file":   {`"configs": [{"content": "a", "path": "/a/b/c"}, {"content": "a", "path": "/a"}]`, []string{`configs[0].path: "/a/b/c" is in configs[1], which is a file`}},
		"kept in a volume": {`"secrets": ["a"], "volumes": [{"name": "v", "path": "/run"}]`, []string{`secrets[0].path: "/run/secrets/a" is in volumes[0], where it would outlive the container`}},
	}.check(t)
}
