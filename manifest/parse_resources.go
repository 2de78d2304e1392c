package manifest

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Limits of resources. Docker starts no container with less than the least.
const (
	leastCPUs   = 0.01
	mostCPUs    = 10_000
	leastMemory = 6 << 20
	mostMemory  = 1 << 50
)

func (d *decoder) resources(path string, value json.RawMessage) Resources {
	var r Resources
	d.read(path, value, fields{
		"cpus":    into(&r.CPUs, d.cpus),
		"memory":  into(&r.Memory, d.size(leastMemory)),
		"reserve": into(&r.Reserve, d.reservation),
	})
	if !d.errs.sound(path) {
		return r
	}
	if r.CPUs > 0 && r.Reserve.CPUs > r.CPUs {
		d.errs.addf(join(path, "reserve.cpus"), "must not be more than the limit, which is %v", r.CPUs)
	}
	if r.Memory > 0 && r.Reserve.Memory > r.Memory {
		d.errs.addf(join(path, "reserve.memory"), "must not be more than the limit, which is %d bytes", r.Memory)
	}
	return r
}

func (d *decoder) reservation(path string, value json.RawMessage) Reservation {
	var r Reservation
	d.read(path, value, fields{
		"cpus":   into(&r.CPUs, d.cpus),
		"memory": into(&r.Memory, d.size(1)),
	})
	return r
}

// cpus reads a number of cores; 0 is none.
func (d *decoder) cpus(path string, value json.RawMessage) float64 {
	var cores float64
	if json.Unmarshal(value, &cores) != nil || kind(value) == 'n' {
		d.errs.add(path, "must be a number of cores such as 0.5, is "+describe(value))
		return 0
	}
	if cores != 0 && (cores < leastCPUs || cores > mostCPUs) {
		d.errs.addf(path, "must be between %v and %d, is %v", leastCPUs, mostCPUs, cores)
		return 0
	}
	return cores
}

// size reads a number of bytes, or a text such as "256m"; 0 is none.
func (d *decoder) size(least int64) reader[int64] {
	return func(path string, value json.RawMessage) int64 {
		text := string(value)
		if kind(value) == '"' {
			text = d.text(path, value)
		}
		size, ok := parseSize(text)
		if !ok {
			d.errs.add(path, `must be a size such as "256m" (k, m or g, in steps of 1024) or a number of bytes, is `+describe(value))
			return 0
		}
		if size != 0 && (size < least || size > mostMemory) {
			d.errs.addf(path, "must be between %d and %d bytes, is %d", least, int64(mostMemory), size)
			return 0
		}
		return size
	}
}

// parseSize reads "512k", "256m", "1g" or a number of bytes.
func parseSize(text string) (size int64, ok bool) {
	unit := int64(1)
	if text != "" {
		switch last := len(text) - 1; strings.ToLower(text[last:]) {
		case "k":
			text, unit = text[:last], 1<<10
		case "m":
			text, unit = text[:last], 1<<20
		case "g":
			text, unit = text[:last], 1<<30
		}
	}
	number, err := strconv.ParseUint(text, 10, 63)
	if err != nil || number > 1<<62/uint64(unit) {
		return 0, false
	}
	return int64(number) * unit, true
}
