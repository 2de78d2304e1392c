package manifest

// Condition is what a host must be: "host.labels.disk == ssd". Attributes are host.ip, host.arch
// and host.labels.<label>; a label that a host does not have is the empty text.
type Condition struct {
	Attribute string   `json:"attribute"`
	Operator  Operator `json:"operator"`
	Value     string   `json:"value,omitempty"`
}

// Operator compares a host's attribute with a value.
type Operator string

// The operators. Order is that of numbers if both sides are numbers, else that of text.
const (
	Equal          Operator = "=="
	NotEqual       Operator = "!="
	Less           Operator = "<"
	LessOrEqual    Operator = "<="
	Greater        Operator = ">"
	GreaterOrEqual Operator = ">="
	Matches        Operator = "=~" // a regular expression of RE2, anywhere in the attribute
	IsSet          Operator = "is_set"
	IsNotSet       Operator = "is_not_set"
)

func (c Condition) String() string {
	if c.Operator == IsSet || c.Operator == IsNotSet {
		return c.Attribute + " " + string(c.Operator)
	}
	return c.Attribute + " " + string(c.Operator) + " " + c.Value
}

// Affinity is a condition that hosts had better meet, or, with a negative weight, not.
type Affinity struct {
	Condition
	Weight int `json:"weight"` // -100 to 100
}

// Spread asks for even numbers of instances over the values of an attribute.
type Spread struct {
	Attribute string `json:"attribute"`
	Weight    int    `json:"weight"` // 1 to 100
}

// DefaultPreference is the weight of an affinity and of a spread.
const DefaultPreference = 50

// Resources are what an instance may use at most, and what is kept for it.
type Resources struct {
	CPUs    float64     `json:"cpus,omitempty"`   // limit, in cores; 0: none
	Memory  int64       `json:"memory,omitempty"` // limit, in bytes; 0: none
	Reserve Reservation `json:"reserve"`
}

// Reservation is what a host must have left for an instance to be placed there.
type Reservation struct {
	CPUs   float64 `json:"cpus,omitempty"`
	Memory int64   `json:"memory,omitempty"` // bytes
}

// Dependency is a container that must have come so far before an instance of this one is started
// for the first time.
type Dependency struct {
	Container string `json:"container"` // "<name>" of the same app, or "<app>/<name>"
	Condition string `json:"condition"`
}

// Conditions of a dependency.
const (
	DependencyHealthy   = "healthy" // an instance of it is; the default
	DependencyStarted   = "started"
	DependencyCompleted = "completed" // the job's last run ended with exit code 0
)

// Job is how a container of mode job runs.
type Job struct {
	Schedule    string `json:"schedule,omitempty"`     // five fields of cron in UTC, or "@hourly" and the like; empty: once for each revision
	Concurrency string `json:"concurrency,omitempty"`  // what to do when a run is due and the last one has not ended
	OnHostLoss  string `json:"on_host_loss,omitempty"` // "restart" on another host (default), or "fail"
}

// Concurrency of a job with a schedule.
const (
	ConcurrencyForbid  = "forbid" // skip the run that is due; the default
	ConcurrencyAllow   = "allow"
	ConcurrencyReplace = "replace" // stop the one that runs
)

// What becomes of a job's run whose host is lost.
const (
	RunRestart = "restart"
	RunFail    = "fail"
)
