package main

import (
	_ "embed"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// demoNames are the images of the documented example, dockerfile/<name>.
var demoNames = []string{"nginx", "ubuntu"}

func isDemo(name string) bool { return slices.Contains(demoNames, name) }

var (
	//go:embed nginx/nginx.conf
	nginxConfig []byte
	//go:embed nginx/index.html
	nginxIndex []byte
)

// Applets of busybox in the demo's shell image, so that there is something to look around with.
var applets = []string{
	"awk", "basename", "cat", "chmod", "cp", "cut", "date", "df", "dirname", "du", "echo", "env", "expr", "false", "find",
	"free", "grep", "head", "hostname", "id", "ip", "kill", "ln", "ls", "mkdir", "more", "mv", "nc", "netstat", "nslookup",
	"ping", "printf", "ps", "pwd", "rm", "rmdir", "route", "sed", "seq", "sleep", "sort", "stat", "tail", "tar", "tee",
	"test", "time", "timeout", "top", "touch", "tr", "true", "uname", "uniq", "vi", "wc", "wget", "which", "whoami", "xargs", "yes",
}

const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func demoImage(d debian, name string) (*image, error) {
	contents, err := baseFiles()
	if err != nil {
		return nil, err
	}
	if name == "nginx" {
		return nginxImage(d, contents)
	}
	return shellImage(d, contents)
}

// nginxImage is a web server on port 80 whose page names the container that served it.
func nginxImage(d debian, contents files) (*image, error) {
	if err := d.addPrograms(contents, "usr/sbin/nginx"); err != nil {
		return nil, err
	}
	if _, err := d.add(contents, "etc/nginx/mime.types"); err != nil {
		return nil, err
	}
	contents.add("etc/nginx/nginx.conf", 0o644, nginxConfig)
	contents.add("usr/share/nginx/html/index.html", 0o644, nginxIndex)
	contents.mkdir("var/lib/nginx", 0o755)
	contents.mkdir("var/log/nginx", 0o755)
	return &image{
		repository: "dockerfile/nginx",
		title:      "The web server of the documented example: nginx of Debian.",
		files:      contents,
		config: v1.Config{
			Cmd:          []string{"/usr/sbin/nginx"},
			Env:          []string{searchPath},
			ExposedPorts: map[string]struct{}{"80/tcp": {}},
			StopSignal:   "SIGQUIT", // answers what it has accepted
		},
	}, nil
}

// shellImage is a shell with curl and the usual small tools.
func shellImage(d debian, contents files) (*image, error) {
	if err := d.addPrograms(contents, "usr/bin/bash", "usr/bin/curl", "usr/bin/busybox"); err != nil {
		return nil, err
	}
	for _, applet := range applets {
		contents.link("usr/bin/"+applet, "busybox")
	}
	contents.link("usr/bin/sh", "bash")
	return &image{
		repository: "dockerfile/ubuntu",
		title:      "The shell of the documented example, under its documented name: bash, curl and busybox of Debian.",
		files:      contents,
		config:     v1.Config{Cmd: []string{"/bin/bash"}, Env: []string{searchPath, "HOME=/root"}, WorkingDir: "/root"},
	}, nil
}

// baseFiles are what programs expect of any system.
func baseFiles() (files, error) {
	contents := files{}
	contents.add("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"))
	contents.add("etc/group", 0o644, []byte("root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n"))
	contents.add("etc/nsswitch.conf", 0o644, []byte("passwd: files\ngroup: files\nhosts: files dns\n"))
	contents.mkdir("root", 0o700)
	contents.mkdir("run", 0o755)
	contents.mkdir("tmp", 0o1777)
	contents.mkdir("var/tmp", 0o1777)
	for _, dir := range mergedDirs {
		contents.mkdir("usr/"+dir, 0o755)
		contents.link(dir, "usr/"+dir)
	}
	if err := addCertificates(contents); err != nil {
		return nil, fmt.Errorf("make base files: %w", err)
	}
	return contents, nil
}
