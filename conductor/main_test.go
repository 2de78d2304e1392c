package conductor

import (
	"flag"
	"os"
	"runtime"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	// The tests wait for leases more than they compute. A -parallel of the user's wins.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	before := runtime.NumGoroutine()
	code := m.Run()
	// Whatever a conductor started is over when its Run has returned.
	for end := time.Now().Add(5 * time.Second); code == 0 && runtime.NumGoroutine() > before+1; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			buffer := make([]byte, 1<<20)
			_, _ = os.Stderr.Write(buffer[:runtime.Stack(buffer, true)]) // the last words anyway
			code = 1
		}
	}
	os.Exit(code)
}
