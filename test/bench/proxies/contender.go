//go:build linux

package proxies

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// contender is a proxy, or none.
type contender struct {
	name    string
	from    callers
	within  *place         // that callers are in; nil: here
	to      netip.AddrPort // of the first kind of backend
	command []string
	env     []string

	process *exec.Cmd
}

const proxyPort = 24600 // of the first kind of backend, on each proxy's address

func proxyAddr(last byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, last}), proxyPort)
}

// port is where the contender leads to a kind of backend.
func (c *contender) port(kind int) netip.AddrPort {
	return netip.AddrPortFrom(c.to.Addr(), c.to.Port()+uint16(kind))
}

// start runs the proxy until stop, and waits until it serves.
func (c *contender) start(ctx context.Context, dir string) error {
	if c.command == nil {
		return nil
	}
	log, err := os.Create(filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-")+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c.process = exec.CommandContext(ctx, c.command[0], c.command[1:]...)
	c.process.Env, c.process.Stdout, c.process.Stderr = append(os.Environ(), c.env...), log, log
	c.process.Cancel = func() error { return c.process.Process.Signal(os.Interrupt) } // nginx has children to end
	if err := c.process.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	if err := c.within.do(func() error { return ready(ctx, c.from, c.to) }); err != nil {
		said, _ := os.ReadFile(log.Name()) // only to explain the error
		return fmt.Errorf("start %s: %w: %s", c.name, err, said)
	}
	return nil
}

func (c *contender) stop() {
	if c.process != nil {
		_ = c.process.Cancel() // it may have ended
		_ = c.process.Wait()   // it was ended
		c.process = nil
	}
}

// pids are those of the process and its children.
func (c *contender) pids() (pids []int, err error) {
	if c.process == nil {
		return nil, nil
	}
	pid := c.process.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return nil, err
	}
	pids = append(pids, pid)
	for _, child := range strings.Fields(string(children)) {
		pid, err := strconv.Atoi(child)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// spent is the processor time of all threads that there are.
func (c *contender) spent() (sum time.Duration, err error) {
	pids, err := c.pids()
	for _, pid := range pids {
		files, globErr := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		err = errors.Join(err, globErr)
		for _, file := range files {
			text, readErr := os.ReadFile(file)
			if readErr != nil {
				continue // the thread ended
			}
			ran, parseErr := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
			err = errors.Join(err, parseErr)
			sum += time.Duration(ran)
		}
	}
	return sum, err
}

// holds is what the proxy holds: descriptors, and resident memory.
func (c *contender) holds() (descriptors, bytes int, err error) {
	pids, err := c.pids()
	for _, pid := range pids {
		open, readErr := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		statm, statmErr := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err = errors.Join(err, readErr, statmErr); err != nil {
			return 0, 0, err
		}
		pages, parseErr := strconv.Atoi(strings.Fields(string(statm))[1])
		err = errors.Join(err, parseErr)
		descriptors += len(open)
		bytes += pages * os.Getpagesize()
	}
	return descriptors, bytes, err
}

// ambassador is ours, in the world.
func ambassador(name, binary string, last byte, w *world, env ...string) *contender {
	to := proxyAddr(last)
	return &contender{from: onLoopback, name: name, to: to, command: []string{binary, "--http-addr=127.0.0.1:0"}, env: append([]string{
		"LISTEN_ADDR=" + to.Addr().String(), "DOCKER_HOST=unix://" + w.engine, "DNS_ADDR=" + w.dns,
		fmt.Sprintf("PORT_RANGE=%d:%d", proxyPort, proxyPort+9),
		"MAX_CONNECTIONS_PER_CONTAINER=10000"}, env...)}
}

// haproxy forwards to the first backend of each kind, with a thread for each core as is its default.
func haproxy(dir, name string, last byte, global, defaults string) (*contender, error) {
	return haproxyTo(dir, name, proxyAddr(last), func(kind int) netip.AddrPort { return backends(kind, 0, 1)[0] }, global, defaults)
}

func haproxyTo(dir, name string, to netip.AddrPort, backend func(kind int) netip.AddrPort, global, defaults string) (*contender, error) {
	var config strings.Builder
	fmt.Fprintf(&config, "global\n maxconn 9600\n maxpipes 300\n%sdefaults\n mode tcp\n maxconn 9600\n%s"+
		" timeout connect 1s\n timeout client 1h\n timeout server 1h\n", global, defaults)
	for kind := range kinds {
		fmt.Fprintf(&config, "listen l%d\n bind %s:%d\n server s %s\n", kind, to.Addr(), int(to.Port())+kind, backend(kind))
	}
	file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".cfg")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		return nil, err
	}
	return &contender{from: onLoopback, name: name, to: to, command: []string{"haproxy", "-db", "-f", file}}, nil
}

// nginx has a worker for each core, and hands half-closed connections through.
func nginx(dir string, last byte) (*contender, error) {
	to := proxyAddr(last)
	var config strings.Builder
	fmt.Fprintf(&config, "daemon off;\nuser root;\nworker_processes auto;\nworker_rlimit_nofile 20000;\npid %s/nginx.pid;\nerror_log stderr crit;\n"+
		"load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n"+
		"events { worker_connections 20000; }\nstream {\n proxy_half_close on;\n proxy_timeout 1h;\n", dir)
	for kind := range kinds {
		fmt.Fprintf(&config, " server { listen %s:%d backlog=4096; proxy_pass %s; }\n", to.Addr(), int(to.Port())+kind, backends(kind, 0, 1)[0])
	}
	config.WriteString("}\n")
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		return nil, err
	}
	return &contender{from: onLoopback, name: "nginx", to: to, command: []string{"nginx", "-p", dir, "-c", file}}, nil
}

// direct is no proxy: the backends themselves.
func direct() *contender {
	return &contender{from: onLoopback, name: "direct", to: backends(0, 0, 1)[0]}
}
