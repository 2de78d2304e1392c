package manifest_test

import (
	"testing"

	"github.com/dokkaa/dokkaa/manifest"
)

func TestContainerFields(t *testing.T) {
	m := parse(t, `"entrypoint": "/init", "user": "1000:1000", "working_dir": "/srv/../srv/", "hostname": "DB-1.example",
		"labels": {"com.example/team": ""}, "pull": "never", "command": [], "env": {}`)
	equal(t, m.Entrypoint, []string{"/init"})
	equal(t, m.User, "1000:1000")
	equal(t, m.WorkingDir, "/srv/../srv/")
	equal(t, m.Hostname, "DB-1.example")
	equal(t, m.Labels, map[string]string{"com.example/team": ""})
	equal(t, m.Pull, manifest.PullNever)
	equal(t, m.Command, nil)
	equal(t, m.Env, nil)
	equal(t, parse(t, `"entrypoint": ["a", ""]`).Entrypoint, []string{"a", ""})
}

func TestContainerRefuses(t *testing.T) {
	refusals{
		"entrypoint":       {`"entrypoint": 1`, []string{`entrypoint: must be a list, is 1`}},
		"empty entrypoint": {`"entrypoint": ""`, []string{`entrypoint: must not be empty`}},
		"user with blanks": {`"user": "a b"`, []string{`user: must have the form "user" or "user:group", is "a b"`}},
		"user no group":    {`"user": "a:"`, []string{`user: must have the form "user" or "user:group", is "a:"`}},
		"group alone":      {`"user": ":a"`, []string{`user: must have the form "user" or "user:group", is ":a"`}},
		"user, two groups": {`"user": "a:b:c"`, []string{`user: must have the form "user" or "user:group", is "a:b:c"`}},
		"relative dir":     {`"working_dir": "srv"`, []string{`working_dir: must begin with "/", is "srv"`}},
		"our labels": {`"labels": {"dokkaa.slot": "1", "dokkaa.app": "x"}`, []string{
			`labels.dokkaa.app: labels whose name begins with "dokkaa." are Dokkaa's own`,
			`labels.dokkaa.slot: labels whose name begins with "dokkaa." are Dokkaa's own`}},
		"label no text":     {`"labels": {"a": 1}`, []string{`labels.a: must be a string, is 1`}},
		"label no name":     {`"labels": {"": "1"}`, []string{`labels: a label's name must not be empty`}},
		"hostname":          {`"hostname": "a_b"`, []string{`hostname: "a_b" is not a host name (letters, digits, hyphens and dots)`}},
		"hostname dots":     {`"hostname": "a..b"`, []string{`hostname: "a..b" is not a host name (letters, digits, hyphens and dots)`}},
		"pull":              {`"pull": "sometimes"`, []string{`pull: must be "missing", "always" or "never", is "sometimes"`}},
		"pull null":         {`"pull": null`, []string{`pull: must be a string, is null`}},
		"command NUL":       {`"command": ["\u0000"]`, []string{`command[0]: must not contain a NUL character`}},
		"variable, no name": {`"env": {"": "1"}`, []string{`env.: "" is not the name of a variable`}},
		"privileged":        {`"privileged": true`, []string{`privileged: not supported by this version`}},
	}.check(t)
}

func TestServiceFields(t *testing.T) {
	m := parse(t, `"scale": 5, "services": {"db": {"port": 5432, "host_port": 15432}, "b": {"port": 1, "host_port": 0}}`)
	equal(t, m.Services["db"].HostPort, 15432)
	equal(t, m.StopFirst(), true)
	equal(t, parse(t, `"services": {}`).Services, nil)
}

func TestServicesRefuse(t *testing.T) {
	refusals{
		"host port twice": {`"services": {"a": {"port": 1, "host_port": 80}, "b": {"port": 2, "host_port": 80}}`, []string{
			`services.b.host_port: 80 is already that of service "a"`}},
		"DNS":        {`"services": {"a": {"port": 1, "host_port": 53}}`, []string{`services.a.host_port: port 53 of every host is taken by Dokkaa's own name server`}},
		"gateway":    {`"services": {"a": {"port": 1, "host_port": 4001}}`, []string{`services.a.host_port: port 4001 of every host is taken by Dokkaa's own gateway and other daemons`}},
		"last of it": {`"services": {"a": {"port": 1, "host_port": 4010}}`, []string{`services.a.host_port: port 4010 of every host is taken by Dokkaa's own gateway and other daemons`}},
		"etcd":       {`"services": {"a": {"port": 1, "host_port": 2380}}`, []string{`services.a.host_port: port 2380 of every host is taken by Dokkaa's own etcd`}},
		"ambassador": {`"services": {"a": {"port": 1, "host_port": 10100}}`, []string{`services.a.host_port: port 10100 of every host is taken by Dokkaa's own ambassador`}},
		"too high":   {`"services": {"a": {"port": 1, "host_port": 65536}}`, []string{`services.a.host_port: must be between 0 and 65535, is 65536`}},
		"hosts":      {`"services": {"a": {"port": 1, "hosts": ["example.com"]}}`, []string{`services.a.hosts: not supported by this version`}},
		"protocol":   {`"services": {"a": {"port": 1, "protocol": "ftp"}}`, []string{`services.a.protocol: must be "tcp", "http" or "udp", is "ftp"`}},
	}.check(t)
}
