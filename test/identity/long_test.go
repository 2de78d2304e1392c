//go:build linux && faults

package identity

// How much churn there is in make test-faults.
const (
	churnAtOnce = 50
	churnEvents = 1000
	churnLeast  = 1000
	churnTime   = 0
)
