package hosting

// Plan is what would be made.
type Plan struct {
	Items    []Item
	Currency string // of the costs, for example USD
}

// Item is one thing that would be made.
type Item struct {
	What    string  // in words: "host web-1: s-1vcpu-1gb in fra1, debian-13-x64"
	Monthly float64 // what it costs a month
}

// Monthly is what all of it costs a month.
func (p Plan) Monthly() (total float64) {
	for _, item := range p.Items {
		total += item.Monthly
	}
	return total
}
