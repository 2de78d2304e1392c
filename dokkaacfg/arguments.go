package dokkaacfg

import (
	"fmt"

	"github.com/spf13/cobra"
)

// exactly takes an argument for each of the variables.
func exactly(into ...*string) cobra.PositionalArgs { return take(len(into), nil, into) }

// atMost takes arguments for the variables, as many as there are.
func atMost(into ...*string) cobra.PositionalArgs { return take(0, nil, into) }

// andMore takes an argument for each of the variables, and any number of others.
func andMore(more *[]string, into ...*string) cobra.PositionalArgs {
	return take(len(into), more, into)
}

// oneOrMore takes at least one argument.
func oneOrMore(all *[]string) cobra.PositionalArgs {
	return take(1, all, nil)
}

func take(least int, more *[]string, into []*string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("an argument is missing: it is %s", cmd.UseLine())
		case len(args) > len(into) && more == nil:
			return fmt.Errorf("unexpected argument %s: it is %s", args[len(into)], cmd.UseLine())
		}
		n := min(len(args), len(into))
		for i, arg := range args[:n] {
			*into[i] = arg
		}
		if more != nil {
			*more = args[n:]
		}
		return nil
	}
}
