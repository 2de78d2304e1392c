package manifest

import (
	"errors"
	"fmt"
	"time"
)

// Limits that keep one manifest from hurting the cluster.
const (
	MaxSize    = 256 << 10 // bytes
	MaxScale   = 10_000
	MaxChecks  = 20
	maxEntries = 100 // of any other list
)

// Fields of the design that this version does not have yet: refused, never ignored.
var (
	unsupportedFields = []string{"autoscale", "cap_add", "cap_drop", "privileged", "devices", "ulimits", "read_only",
		"tmpfs", "log"}
	unsupportedServiceFields = []string{"hosts"}
)

// Parse reads a manifest strictly: unknown fields, wrong types and contradictions are errors.
// The error is an Errors with everything that is wrong, each with the path of its field.
//
// A Manifest that is written as JSON and parsed again is the same.
func Parse(data []byte) (*Manifest, error) {
	if len(data) > MaxSize {
		return nil, Errors{{Message: fmt.Sprintf("is %d bytes long, at most %d are allowed", len(data), MaxSize)}}
	}
	if err := wellFormed(data); err != nil {
		return nil, Errors{{Message: err.Error()}}
	}
	var d decoder
	m := d.manifest(data)
	if len(d.errs) > 0 {
		return nil, d.errs
	}
	return m, nil
}

// ParseFor is Parse for the container of these names: they are checked too, and that the manifest
// does not refer to its own container.
func ParseFor(app, name string, data []byte) (*Manifest, error) {
	var errs Errors
	errs.checkNames(app, name)
	m, err := Parse(data)
	var inside Errors
	if errors.As(err, &inside) {
		errs = append(errs, inside...)
	} else {
		errs.checkSelf(app, name, m)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return m, nil
}

func (d *decoder) manifest(data []byte) *Manifest {
	m := defaults()
	given := d.read("", data, fields{
		"image":       into(&m.Image, d.image),
		"command":     into(&m.Command, d.command),
		"entrypoint":  into(&m.Entrypoint, d.entrypoint),
		"env":         into(&m.Env, d.env),
		"user":        into(&m.User, d.user),
		"working_dir": into(&m.WorkingDir, d.workingDir),
		"labels":      into(&m.Labels, d.labels),
		"hostname":    into(&m.Hostname, d.hostname),
		"pull":        into(&m.Pull, oneOf(d, PullMissing, PullAlways, PullNever)),

		"scale":        into(&m.Scale, d.between(0, MaxScale)),
		"mode":         into(&m.Mode, oneOf(d, Replicated, Global, JobMode)),
		"schedule":     into(&m.Schedule, d.schedule),
		"concurrency":  into(&m.Concurrency, oneOf(d, ConcurrencyForbid, ConcurrencyAllow, ConcurrencyReplace)),
		"on_host_loss": into(&m.OnHostLoss, oneOf(d, RunRestart, RunFail)),

		"services": into(&m.Services, d.services),
		"links":    into(&m.Links, list(d, MaxLinks, d.link)),

		"checks":            into(&m.Checks, list(d, MaxChecks, d.check)),
		"restart":           into(&m.Restart, d.restart),
		"disconnect":        into(&m.Disconnect, d.disconnect),
		"update":            into(&m.Update, d.update),
		"stop_grace_period": into(&m.StopGracePeriod, d.lasting(0, time.Hour)),
		"drain_timeout":     into(&m.DrainTimeout, d.lasting(0, 24*time.Hour)),
		"revision_history":  into(&m.RevisionHistory, d.between(0, 100)),

		"constraints":  into(&m.Constraints, list(d, maxConditions, d.constraint)),
		"affinities":   into(&m.Affinities, list(d, maxConditions, d.affinity)),
		"spread":       into(&m.Spread, list(d, maxConditions, d.spread)),
		"max_per_host": into(&m.MaxPerHost, d.between(0, MaxScale)),
		"near":         into(&m.Near, d.neighbours),
		"apart":        into(&m.Apart, d.neighbours),
		"resources":    into(&m.Resources, d.resources),
		"volumes":      into(&m.Volumes, d.volumes),
		"depends_on":   into(&m.DependsOn, d.dependencies),

		"secrets": into(&m.Secrets, list(d, maxEntries, d.secret)),
		"configs": into(&m.Configs, list(d, maxEntries, d.config)),
	}, unsupportedFields...)
	d.require("", data, given, "image")
	d.complete(m)
	d.contradictions(m)
	return m
}

// defaults is the manifest of a user who gave nothing. What the default of Restart is depends on
// the mode, see complete.
func defaults() *Manifest {
	return &Manifest{
		Scale: 1, Mode: Replicated, Pull: PullMissing,
		Restart:    Restart{Attempts: attemptsNotGiven, Interval: DefaultRestartInterval, Delay: DefaultRestartDelay},
		Disconnect: Disconnect{Replace: true, Reconcile: KeepOriginal},
		Update: Update{Order: OrderStartFirst, MaxParallel: 1, MinHealthyTime: DefaultMinHealthyTime, HealthyDeadline: DefaultHealthyDeadline,
			ProgressDeadline: DefaultProgressDeadline, FailureAction: FailureRollback},
		StopGracePeriod: DefaultStopGracePeriod, DrainTimeout: DefaultDrainTimeout, RevisionHistory: DefaultRevisionHistory,
	}
}

// complete fills in the defaults that depend on other fields.
func (d *decoder) complete(m *Manifest) {
	m.Restart.complete(m.Mode)
	m.Job.complete(m.Mode)
	d.nameChecks(m.Checks)
	d.completeServices(m)
}
