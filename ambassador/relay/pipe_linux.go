package relay

import "golang.org/x/sys/unix"

const (
	pipeSize = 1 << 20
	// What is written to who does not read fills its pipe, of which a loop has at most so many.
	// Other connections go on without one.
	maxPipes  = 128
	idlePipes = 16 // that are kept
)

// pipe holds bytes on their way between two sockets, in the kernel.
type pipe struct {
	in, out int // to write, to read
	held    int // bytes
}

// pipes are those of a loop.
type pipes struct {
	made int
	idle []*pipe
}

// take returns an empty pipe, nil if there is none to be had.
func (p *pipes) take() *pipe {
	if n := len(p.idle); n > 0 {
		taken := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return taken
	}
	if p.made == maxPipes {
		return nil
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil // out of descriptors: a buffer does as well
	}
	// Beyond the user's share of memory for pipes it stays as small as it is.
	_, _ = unix.FcntlInt(uintptr(ends[1]), unix.F_SETPIPE_SZ, pipeSize)
	p.made++
	return &pipe{in: ends[1], out: ends[0]}
}

// give takes back a pipe. One that is not empty cannot be used again.
func (p *pipes) give(back *pipe) {
	if back.held == 0 && len(p.idle) < idlePipes {
		p.idle = append(p.idle, back)
		return
	}
	p.close(back)
}

func (p *pipes) close(one *pipe) {
	closeSocket(one.in)
	closeSocket(one.out)
	p.made--
}

func (p *pipes) closeIdle() {
	for _, one := range p.idle {
		p.close(one)
	}
	p.idle = nil
}
