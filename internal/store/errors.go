package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/coreos/go-etcd/etcd"
)

// What a call can fail with, for errors.Is. An error that is none of them is the caller's
// context's, or about an argument.
var (
	// ErrNotFound says that there is no such key.
	ErrNotFound = errors.New("key not found")
	// ErrExists says that the key to be created is there already.
	ErrExists = errors.New("key exists")
	// ErrConflict says that the key is no longer what the write was to replace or delete.
	ErrConflict = errors.New("key was changed meanwhile")
	// ErrNotFile says that the key is a directory.
	ErrNotFile = errors.New("key is a directory")
	// ErrNotDir says that the key, or one that it would be below of, is no directory.
	ErrNotDir = errors.New("key is not a directory")

	// ErrOutcomeUnknown says that a write that must not be repeated may have happened, may
	// yet happen, or not.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrUnavailable says that no endpoint gave an answer; nothing follows about the keys.
	ErrUnavailable = errors.New("etcd unavailable")
	// ErrRefused says that an endpoint understood the request and does not allow it.
	ErrRefused = errors.New("refused by etcd or its gateway")
	// ErrForeignCluster says that etcd does not hold the id of the cluster that it should:
	// it was wiped, or is another one. What it holds is unknown, not empty.
	ErrForeignCluster = errors.New("etcd is not that of this cluster")
	// ErrNoV2 says that the server has no v2 keys API.
	ErrNoV2 = errors.New("etcd serves no v2 keys (it wants --enable-v2, and a version before 3.6)")

	// ErrLeaseLost is the cause that the context of a lost lease ends with.
	ErrLeaseLost = errors.New("lease lost")
)

// Error codes of the v2 keys API.
const (
	codeKeyNotFound  = 100
	codeTestFailed   = 101
	codeNotFile      = 102
	codeNotDir       = 104
	codeNodeExist    = 105
	codeDirNotEmpty  = 108
	codeRaftInternal = 300 // and up to 399: the members could not agree, in time or at all
	codeWatchCleared = 400
	codeIndexCleared = 401
)

// keysError is etcd's own answer that it did not do what was asked.
type keysError struct {
	etcd.EtcdError
}

func (e *keysError) Error() string {
	return fmt.Sprintf("%s (%s) [%d]", e.Message, e.Cause, e.ErrorCode)
}

func (e *keysError) Is(target error) bool {
	switch e.ErrorCode {
	case codeKeyNotFound:
		return target == ErrNotFound
	case codeTestFailed:
		return target == ErrConflict
	case codeNotFile:
		return target == ErrNotFile
	case codeNotDir:
		return target == ErrNotDir
	case codeNodeExist:
		return target == ErrExists
	}
	return false
}

// hasCode tells whether err is etcd's answer with the given code.
func hasCode(err error, code int) bool {
	var answer *keysError
	return errors.As(err, &answer) && answer.ErrorCode == code
}

// noAnswer says that an endpoint did not answer, or not about the keys.
type noAnswer struct {
	sent bool // the request may have reached etcd
	err  error
}

func (e *noAnswer) Error() string   { return e.err.Error() }
func (e *noAnswer) Unwrap() []error { return []error{ErrUnavailable, e.err} }

// statusError makes an error of an answer that is no success. Through a gateway it may not be
// etcd's: then its body is text, or HTML.
func statusError(status int, body []byte) error {
	answer := new(keysError)
	isKeys := json.Unmarshal(body, &answer.EtcdError) == nil && answer.ErrorCode != 0
	text := fmt.Errorf("%d %s: %.200s", status, http.StatusText(status), strings.TrimSpace(string(body)))
	switch {
	case isKeys && answer.ErrorCode >= codeRaftInternal && answer.ErrorCode < codeWatchCleared:
		return &noAnswer{sent: true, err: answer}
	case isKeys:
		return answer
	case status == http.StatusNotFound:
		return fmt.Errorf("%w: %w", ErrNoV2, text)
	case status >= http.StatusInternalServerError, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests:
		return &noAnswer{sent: true, err: text}
	default:
		return fmt.Errorf("%w: %w", ErrRefused, text)
	}
}
