package dokkaacfg

import (
	"context"
	"fmt"

	"github.com/dokkaa/dokkaa/dokkaacfg/hosting"
)

// plan says what up would make, and makes nothing.
func (s *session) plan(ctx context.Context, scale int) error {
	planner, ok := s.provider.(interface {
		Plan(ctx context.Context, scale int) (hosting.Plan, error)
	})
	if !ok {
		return usageError{fmt.Sprintf("--plan is for hosts that cost something; these are %s", s.provider.describe())}
	}
	if err := s.checkScale(scale); err != nil {
		return err
	}
	scale, err := s.scaleFor(ctx, scale)
	if err != nil {
		return err
	}
	plan, err := planner.Plan(ctx, scale)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "Cluster %s: %s.\n%s", s.cluster, s.provider.describe(), planText(plan))
	return err
}

// planText is a line for each item, and the sum.
func planText(plan hosting.Plan) string {
	if len(plan.Items) == 0 {
		return "There is nothing to make.\n"
	}
	var t table
	t.row("A MONTH", "TO BE MADE")
	for _, item := range plan.Items {
		cost := ""
		if item.Monthly > 0 {
			cost = money(item.Monthly, plan.Currency)
		}
		t.row(cost, item.What)
	}
	if plan.Currency == "" {
		return t.String() + "Nothing was made.\n"
	}
	return fmt.Sprintf("%sAll of it costs %s a month. Nothing was made.\n", t.String(), money(plan.Monthly(), plan.Currency))
}

func money(amount float64, currency string) string { return fmt.Sprintf("%.2f %s", amount, currency) }
