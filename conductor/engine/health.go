package engine

import (
	"strconv"
	"strings"
	"time"
)

// Health is what the HEALTHCHECK of a running container's image says, which Docker makes.
type Health string

// What it may say.
const (
	HealthNone      Health = "" // the image has none
	HealthStarting  Health = "starting"
	HealthHealthy   Health = "healthy"
	HealthUnhealthy Health = "unhealthy"
)

// healthIn reads the health in Docker's words on a container, "Up 5 minutes (healthy)": its list
// says it in no other way.
func healthIn(detail string) Health {
	switch {
	case strings.HasSuffix(detail, "(health: starting)"):
		return HealthStarting
	case strings.HasSuffix(detail, "(healthy)"):
		return HealthHealthy
	case strings.HasSuffix(detail, "(unhealthy)"):
		return HealthUnhealthy
	}
	return HealthNone
}

// units are those in which Docker says how long a container has been up.
var units = map[string]time.Duration{"second": time.Second, "minute": time.Minute, "hour": time.Hour,
	"day": 24 * time.Hour, "week": 7 * 24 * time.Hour, "month": 30 * 24 * time.Hour, "year": 365 * 24 * time.Hour}

// upIn reads in Docker's words how long a container has been up, at least: "Up 5 minutes", "Up About
// an hour", "Up Less than a second".
func upIn(detail string) time.Duration {
	words := strings.Fields(strings.Replace(detail, "About a", "1", 1))
	if len(words) < 3 || words[0] != "Up" {
		return 0
	}
	if words[1] == "1n" { // "About an hour"
		words[1] = "1"
	}
	n, err := strconv.Atoi(words[1])
	if err != nil {
		return 0
	}
	return time.Duration(n) * units[strings.TrimSuffix(words[2], "s")]
}
