package conductor

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// diskPoll is how often it is looked how full the disk is.
	diskPoll = 10 * time.Second
	// diskRelief is how often images are removed at most while it is full.
	diskRelief = time.Minute
)

// Bounds of a disk that is full. One that was has to have some more room before it is not.
const (
	fullUsed, roomyUsed = 0.95, 0.93
	fullFree, roomyFree = 500 << 20, 700 << 20
)

// usage is how full a file system is, in bytes, as df tells it.
type usage struct{ used, free uint64 }

func (u usage) share() float64 { return float64(u.used) / float64(max(u.used+u.free, 1)) }

// full says that the disk is full, "" if it is not; was tells whether it was when it was looked last.
func (u usage) full(was bool) string {
	used, free := fullUsed, uint64(fullFree)
	if was {
		used, free = roomyUsed, roomyFree
	}
	switch {
	case u.share() > used:
		return fmt.Sprintf("disk is full: %d %% of %s used", int(100*u.share()), bytesText(u.used+u.free))
	case u.free < free:
		return fmt.Sprintf("disk is full: %s of %s left", bytesText(u.free), bytesText(u.used+u.free))
	}
	return ""
}

func bytesText(n uint64) string {
	if n < 10<<30 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d GiB", n>>30)
}

// rootUsage is that of the file system that this process has as its root. Of a container that is the
// one where Docker keeps its data.
func rootUsage() (usage, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs("/", &stat); err != nil {
		return usage{}, fmt.Errorf("ask how full the disk is: %w", err)
	}
	block := uint64(stat.Bsize)
	return usage{used: (uint64(stat.Blocks) - uint64(stat.Bfree)) * block, free: uint64(stat.Bavail) * block}, nil
}

// disk watches how full the host's disk is.
type disk struct {
	usage   func() (usage, error) // nil: nobody knows
	relieve func(context.Context) error
	log     *slog.Logger

	why      atomic.Pointer[string] // it is full
	relieved time.Time
}

// condition says why the disk lets nothing new onto the host, "" if it does.
func (d *disk) condition() string {
	if why := d.why.Load(); why != nil {
		return *why
	}
	return ""
}

// run looks again and again, until ctx ends.
func (d *disk) run(ctx context.Context) {
	if d.usage == nil {
		return
	}
	for {
		d.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(diskPoll):
		}
	}
}

// look takes in how full the disk is. Before it calls it full it has made room.
func (d *disk) look(ctx context.Context) {
	before := d.condition()
	why, err := d.full(before != "")
	if err == nil && why != "" && time.Since(d.relieved) > diskRelief {
		d.relieved = time.Now()
		if err := d.relieve(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("make room on the disk", "err", err)
		}
		why, err = d.full(before != "")
	}
	if err != nil {
		d.log.Warn("look at the disk", "err", err)
		return
	}
	switch {
	case why != "" && before == "":
		d.log.Warn("this host takes nothing new", "reason", why)
	case why == "" && before != "":
		d.log.Info("the disk has room again")
	case why != "":
		why = before // not another one with each byte
	}
	d.why.Store(&why)
}

func (d *disk) full(was bool) (string, error) {
	u, err := d.usage()
	if err != nil {
		return "", err
	}
	return u.full(was), nil
}
