// Datagrams is a service that takes datagrams, and who sends them: for the end-to-end tests. It
// answers what it gets with its host's name, or else sends to its one link, ten times a second, half
// of it from one socket and half from a new one each time, and prints who answers.
package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

const (
	pace    = 100 * time.Millisecond
	timeout = time.Second
)

func main() {
	var err error
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		err = serve()
	} else {
		err = ask(net.JoinHostPort(os.Getenv("SERVICE_ECHO_ADDR"), os.Getenv("SERVICE_ECHO_PORT")))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// serve answers until something fails.
func serve() error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	conn, err := net.ListenPacket("udp", ":7")
	if err != nil {
		return err
	}
	buffer := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if _, err := conn.WriteTo(append([]byte(name+" "), buffer[:n]...), from); err != nil {
			return err
		}
	}
}

// ask sends until something other than a lost datagram fails.
func ask(target string) error {
	steady, err := net.Dial("udp", target)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		fresh, err := net.Dial("udp", target)
		if err != nil {
			return err
		}
		fmt.Println("steady", exchange(steady, i))
		fmt.Println("fresh", exchange(fresh, i))
		if err := fresh.Close(); err != nil {
			return err
		}
		time.Sleep(pace)
	}
}

// exchange returns who answered.
func exchange(conn net.Conn, i int) string {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err.Error()
	}
	if _, err := fmt.Fprint(conn, i); err != nil {
		return err.Error()
	}
	buffer := make([]byte, 1000)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return "lost"
		}
		var name string
		var answered int
		if _, err := fmt.Sscan(string(buffer[:n]), &name, &answered); err == nil && answered == i {
			return name // and not a late answer to what was lost
		}
	}
}
