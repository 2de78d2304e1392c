package relay

import (
	"os"

	"golang.org/x/sys/unix"
)

// pump carries bytes from one end to the other until one of them has to be waited for, the
// direction has ended, or its turn is over. It errs if the flow has to be reset.
func (f *flow) pump(from, to *end) error {
	for left := turn; left > 0; {
		if !to.writable || from.deaf || from.passed {
			return nil
		}
		switch {
		case from.holds():
			if err := f.unload(from, to); err != nil {
				return err
			}
		case from.ended:
			return f.pass(from, to)
		case !from.readable:
			return nil
		default:
			n, err := f.load(from, to)
			if err != nil {
				return err
			}
			left -= n
		}
	}
	f.loop.later(f)
	return nil
}

// load reads from an end, and writes at once what the other takes.
func (f *flow) load(from, to *end) (n int, err error) {
	if from.run >= bulk && from.pipe == nil {
		from.pipe = f.loop.pipes.take()
	}
	var errno unix.Errno
	if from.pipe != nil {
		if n, errno = move(from.fd, from.pipe.in, pipeSize); errno == 0 {
			from.pipe.held = n
		}
	} else {
		n, errno = receive(from.fd, f.loop.scratch)
	}
	switch {
	case errno == unix.EAGAIN:
		from.readable, from.quiet = false, false
		f.loop.drop(from)
		return 0, nil
	case errno == unix.EINTR:
		return 0, nil
	case errno != 0:
		return 0, os.NewSyscallError("read", errno)
	case n == 0:
		from.ended = true
		f.loop.drop(from)
		return 0, nil
	}
	from.carried += int64(n)
	f.active = f.loop.now
	if n < bufferSize {
		from.run = 0
		// There was no more, but its end may be there. A pipe can be full before that.
		if from.pipe == nil {
			from.readable = from.hungUp
			from.quiet = false
		}
	} else {
		from.run += n
	}
	if from.pipe == nil {
		return n, f.write(from, to, f.loop.scratch[:n])
	}
	return n, f.unload(from, to)
}

// unload writes what is held. An empty pipe is given back when the flow has less to carry.
func (f *flow) unload(from, to *end) error {
	if from.pipe == nil {
		held := from.held
		from.held = nil
		return f.write(from, to, held)
	}
	n, errno := move(from.pipe.out, to.fd, from.pipe.held)
	if errno != 0 {
		return f.blocked(from, to, errno)
	}
	f.active = f.loop.now
	from.pipe.held -= n
	if from.pipe.held == 0 && from.run == 0 {
		f.loop.drop(from)
	}
	return nil
}

// write sends bytes that are in the scratch buffer or in that of from, which holds what is left of them.
func (f *flow) write(from, to *end, b []byte) error {
	if to.written && !to.prompt {
		to.prompt = true
		prompt(to.fd)
	}
	n, errno := send(to.fd, b)
	if errno != 0 {
		n = 0
	} else {
		to.written = true
		f.active = f.loop.now
		if to == &f.backend {
			f.opened() // or it could not be written to
		}
	}
	if left := b[n:]; len(left) > 0 {
		if from.buffer == nil {
			from.buffer = f.loop.takeBuffer()
			left = from.buffer[:copy(from.buffer[:], left)]
		}
		from.held = left
	} else {
		f.loop.drop(from)
	}
	if errno != 0 {
		return f.blocked(from, to, errno)
	}
	to.writable = n == len(b)
	return nil
}

// blocked takes the error of a write. If the other side is gone, it may have said something
// before: the flow is reset when that is carried, to the end that is sure to come.
func (f *flow) blocked(from, to *end, errno unix.Errno) error {
	switch {
	case errno == unix.EAGAIN:
		to.writable = false
	case errno == unix.EINTR:
	case to == &f.backend && f.dialling() && errno != unix.ECONNRESET && errno != unix.EPIPE:
		to.writable = false
		f.missed(errno)
	default:
		f.failure = os.NewSyscallError("write", errno)
		if to.passed {
			return f.failure // it had said all
		}
		from.deaf = true
		f.loop.drop(from)
		to.readable = true
		f.opened() // it was, before
	}
	return nil
}

// pass tells the other side that nothing more comes.
func (f *flow) pass(from, to *end) error {
	if f.failure != nil {
		return f.failure
	}
	if to == &f.backend && !f.open {
		return nil // a dial cannot be half closed
	}
	from.passed = true
	if to.done() {
		return nil // both are closed in a moment
	}
	if errno := endWriting(to.fd); errno != 0 && errno != unix.ENOTCONN {
		return os.NewSyscallError("shutdown", errno)
	}
	return nil
}
