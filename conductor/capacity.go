package conductor

import (
	"bufio"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// capacity is what the host has for containers: cores, and bytes of memory. What is not known is 0.
func capacity() (cpus float64, memory int64) {
	if file, err := os.Open("/proc/meminfo"); err == nil {
		defer file.Close()
		memory = totalMemory(file)
	}
	return float64(runtime.NumCPU()), memory
}

// totalMemory reads Linux's "MemTotal:  24683672 kB".
func totalMemory(meminfo io.Reader) int64 {
	for lines := bufio.NewScanner(meminfo); lines.Scan(); {
		if rest, found := strings.CutPrefix(lines.Text(), "MemTotal:"); found {
			kilobytes, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return kilobytes << 10
		}
	}
	return 0
}
