package state

// Command is what a host's API is asked to run in an instance. Its input comes on channel 0 of the
// stream, its output goes to channels 1 and 2, with a terminal to 1 only.
type Command struct {
	Args       []string `json:"args"`
	Env        []string `json:"env,omitempty"` // NAME=value
	User       string   `json:"user,omitempty"`
	WorkingDir string   `json:"working_dir,omitempty"`
	TTY        bool     `json:"tty,omitempty"`
	Stdin      bool     `json:"stdin,omitempty"`
}

// CommandWord is what client and host say to each other while a command runs. One field of it is set.
type CommandWord struct {
	Size   *TerminalSize `json:"size,omitempty"`   // of the client's terminal
	Signal string        `json:"signal,omitempty"` // "INT" or the like, for the command
	Code   *int          `json:"code,omitempty"`   // that the command ended with
	Error  string        `json:"error,omitempty"`  // why its end is not known
}

// TerminalSize is how many characters a terminal shows.
type TerminalSize struct {
	Rows    int `json:"rows"`
	Columns int `json:"columns"`
}
