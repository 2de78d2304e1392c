//go:build linux && !faults

package identity

import "time"

// How much churn make test can afford.
const (
	churnAtOnce = 16
	churnEvents = 0
	churnLeast  = 20
	churnTime   = 8 * time.Second
)
