package digitalocean

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// TokenVariable is the environment variable with the token of the API.
const TokenVariable = "DIGITALOCEAN_ACCESS_TOKEN"

// APIVariable is the environment variable with another address of the API.
const APIVariable = "DIGITALOCEAN_API_URL"

// ReadToken returns the token from the variable, or else from the file, which nobody but its owner
// may read, and the owner must be who runs this or root.
func ReadToken(getenv func(string) string, file string) (string, error) {
	if token := strings.TrimSpace(getenv(TokenVariable)); token != "" {
		return token, nil
	}
	opened, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no token for DigitalOcean's API: set %s, or write it to %s with mode 0600", TokenVariable, file)
	}
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	defer opened.Close()
	info, err := opened.Stat()
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("the token in %s can be read by others (mode %04o): chmod 600 it, and think of making a new one", file, mode)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return "", fmt.Errorf("the token in %s belongs to another user (%d)", file, stat.Uid)
	}
	text, err := io.ReadAll(opened)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("read the token: %s is empty", file)
	}
	return token, nil
}
