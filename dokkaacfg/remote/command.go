package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Run runs a shell script on the host as root, with in (nil for nothing) as its input, and returns
// what it wrote. The error of one that fails has what it complained of. When ctx ends the command is
// left to itself: what it is in the middle of may go on.
func (h *Host) Run(ctx context.Context, script string, in io.Reader) (string, error) {
	client, err := h.connected(ctx)
	if err != nil {
		return "", err
	}
	session, err := client.NewSession()
	if err != nil {
		return "", fmt.Errorf("run a command on host %s: %w", h.Name(), err)
	}
	stop := context.AfterFunc(ctx, func() { session.Close() })
	defer session.Close()
	var out, complaint bytes.Buffer
	session.Stdin, session.Stdout, session.Stderr = in, &out, &complaint
	err = session.Run(h.asRoot(script))
	if !stop() {
		return "", fmt.Errorf("run a command on host %s: %w", h.Name(), ctx.Err())
	}
	var exit *ssh.ExitError
	switch {
	case errors.As(err, &exit):
		return out.String(), fmt.Errorf("on host %s: %s (exit code %d)", h.Name(), lastLines(complaint.String(), out.String()), exit.ExitStatus())
	case err != nil:
		return out.String(), fmt.Errorf("run a command on host %s: %w", h.Name(), err)
	}
	return out.String(), nil
}

func (h *Host) isRoot() bool { return h.host.User == "root" }

// asRoot is the command line that runs the script as root, whoever logged in and whatever shell is
// theirs.
func (h *Host) asRoot(script string) string {
	command := "sh -euc " + quote(script)
	if !h.isRoot() {
		command = "sudo -n -- " + command
	}
	return command
}

// quote makes one word of a text, for a shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// lastLines is the end of the first of the texts that says something.
func lastLines(texts ...string) string {
	const most = 5
	for _, text := range texts {
		if text = strings.TrimSpace(text); text != "" {
			lines := strings.Split(text, "\n")
			return strings.Join(lines[max(0, len(lines)-most):], "\n")
		}
	}
	return "a command failed without a word"
}
