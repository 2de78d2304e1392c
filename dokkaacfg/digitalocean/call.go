package digitalocean

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/digitalocean/godo"
)

// patience is how long a request is tried again when the API cannot answer it.
const patience = 3 * time.Minute

// repeat does a request until it is answered. It must be one that may be done twice. What is the
// work in words, for the error.
func repeat[T any](ctx context.Context, what string, request func() (T, error)) (T, error) {
	value, err := backoff.Retry(ctx, func() (T, error) {
		value, err := request()
		return value, verdict(err)
	}, backoff.WithBackOff(newBackOff()), backoff.WithMaxElapsedTime(patience))
	switch {
	case statusOf(err) == http.StatusUnauthorized:
		return value, fmt.Errorf("%s: %w; is the token right, and has it not expired?", what, err)
	case statusOf(err) == http.StatusTooManyRequests:
		return value, fmt.Errorf("%s: %w; that is too long to wait for", what, err)
	case err != nil:
		return value, fmt.Errorf("%s: %w", what, err)
	}
	return value, nil
}

// do is repeat for a request without a value.
func do(ctx context.Context, what string, request func() error) error {
	_, err := repeat(ctx, what, func() (struct{}, error) { return struct{}{}, request() })
	return err
}

func newBackOff() backoff.BackOff {
	return &backoff.ExponentialBackOff{InitialInterval: time.Second, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: 20 * time.Second}
}

// verdict says of a failed request, in the words of package backoff, whether to try again.
func verdict(err error) error {
	switch status := statusOf(err); {
	case err == nil:
		return nil
	case status == http.StatusTooManyRequests:
		return errors.Join(err, backoff.RetryAfter(retryAfter(err)))
	case temporary(err):
		return err
	default:
		return backoff.Permanent(err)
	}
}

// temporary tells of a failed request that the same one may succeed later. Whether it had an
// effect is not known.
func temporary(err error) bool {
	status := statusOf(err)
	if status == 0 {
		return !errors.Is(err, context.Canceled)
	}
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

// statusOf is the answer's, or 0 if there was none.
func statusOf(err error) int {
	var refused *godo.ErrorResponse
	if errors.As(err, &refused) && refused.Response != nil {
		return refused.Response.StatusCode
	}
	return 0
}

// retryAfter is in how many seconds the API wants to be asked again, after too many requests.
func retryAfter(err error) int {
	var refused *godo.ErrorResponse
	if errors.As(err, &refused) {
		if seconds, err := strconv.Atoi(refused.Response.Header.Get("Retry-After")); err == nil && seconds > 0 {
			return seconds
		}
	}
	return 10
}

// gone makes an error of a removal nil if there was nothing to remove.
func gone(err error, also ...int) error {
	if status := statusOf(err); status == http.StatusNotFound || slices.Contains(also, status) {
		return nil
	}
	return err
}

// listAll reads all pages of a list.
func listAll[T any](ctx context.Context, what string, list func(*godo.ListOptions) ([]T, *godo.Response, error)) ([]T, error) {
	var all []T
	for page := 1; ; page++ {
		type part struct {
			items []T
			last  bool
		}
		read, err := repeat(ctx, what, func() (part, error) {
			items, response, err := list(&godo.ListOptions{Page: page, PerPage: 200})
			if err != nil {
				return part{}, err
			}
			return part{items, response.Links == nil || response.Links.IsLastPage()}, nil
		})
		if err != nil {
			return nil, err
		}
		all = append(all, read.items...)
		if read.last {
			return all, nil
		}
	}
}

// pauses are those between looks at something that takes a while: short at first.
type pauses struct{ next time.Duration }

func (p *pauses) take() time.Duration {
	p.next = min(max(2*p.next, pollInterval/10), pollInterval)
	return p.next
}

// until calls look every few seconds, for a time, until there is nothing more to wait for.
func until(ctx context.Context, timeout time.Duration, what string, look func() (waiting string, err error)) error {
	deadline := time.Now().Add(timeout)
	var pause pauses
	for {
		waiting, err := look()
		if waiting == "" || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %s, after %s; the same command goes on", what, waiting, timeout)
		}
		if err := wait(ctx, pause.take()); err != nil {
			return err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
