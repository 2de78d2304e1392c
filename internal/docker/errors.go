package docker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"

	dockerclient "github.com/fsouza/go-dockerclient"
)

// IsNotFound says whether err is the Engine's positive answer that the container, image,
// network, volume or exec does not exist.
func IsNotFound(err error) bool {
	var (
		container *dockerclient.NoSuchContainer
		network   *dockerclient.NoSuchNetwork
		exec      *dockerclient.NoSuchExec
	)
	return errors.As(err, &container) || errors.As(err, &network) || errors.As(err, &exec) ||
		errors.Is(err, dockerclient.ErrNoSuchImage) || errors.Is(err, dockerclient.ErrNoSuchVolume) ||
		statusOf(err) == http.StatusNotFound
}

// IsConflict says whether the Engine refused because of what is already there, such as a
// container of the same name.
func IsConflict(err error) bool {
	return errors.Is(err, dockerclient.ErrContainerAlreadyExists) || statusOf(err) == http.StatusConflict
}

// IsUnavailable says whether err means that no answer came from the Engine: it is away, hangs,
// or broke off. What was asked for may or may not have been done, and what was asked about is
// unknown.
func IsUnavailable(err error) bool {
	var network net.Error
	return errors.Is(err, dockerclient.ErrConnectionRefused) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &network) || statusOf(err) == http.StatusServiceUnavailable
}

// Words are what err says, without what is the Engine's own: the form of its answer, and the ids of
// what it tried to make, which are others each time.
func Words(err error) string {
	text := err.Error()
	var refusal *dockerclient.Error
	if errors.As(err, &refusal) {
		var answer struct{ Message string }
		if json.Unmarshal([]byte(refusal.Message), &answer) != nil || answer.Message == "" {
			answer.Message = refusal.Message
		}
		text = strings.ReplaceAll(text, refusal.Error(), strings.TrimSpace(answer.Message))
	}
	return ownIDs.ReplaceAllString(text, "")
}

// ownIDs are ids in brackets.
var ownIDs = regexp.MustCompile(` \([0-9a-f]{64}\)`)

// statusOf is the HTTP status of the Engine's refusal, 0 if err is none.
func statusOf(err error) int {
	var refusal *dockerclient.Error
	if errors.As(err, &refusal) {
		return refusal.Status
	}
	return 0
}
