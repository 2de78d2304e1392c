package kernel

import "time"

// count is what was counted for an instance.
type count struct {
	traffic Traffic
	open    int
	asked   bool      // connections were opened in the last period, and no answer came in it
	changed time.Time // when it last was another
}

// count reads what the kernel counted, and finds instances that are silent.
func (p *Path) count(now time.Time) error {
	traffic, err := p.table.Traffic()
	if err != nil {
		return err
	}
	if now.Sub(p.opened) >= openEvery {
		if p.open, err = p.table.Open(); err != nil {
			return err
		}
		p.opened = now
	}
	var stale []Instance
	for i, is := range traffic {
		was := p.counted[i]
		next := count{traffic: is, open: p.open[i], changed: was.changed}
		if is != was.traffic || p.open[i] != was.open {
			next.changed = now
			p.source.Carried(i, is.since(was.traffic), p.open[i])
		}
		answered := is.Answers != was.traffic.Answers
		if was.asked && !answered {
			p.source.Failed(i)
		}
		next.asked = !answered && is.Opened != was.traffic.Opened
		if p.counted[i] = next; now.Sub(next.changed) > forgetAfter && next.open == 0 && !p.rules.has(i) {
			stale = append(stale, i)
			delete(p.counted, i)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	return p.table.Forget(stale)
}

// since is what came to it. A table that was written anew counts from nothing.
func (t Traffic) since(was Traffic) Traffic {
	if t.Opened < was.Opened || t.Up < was.Up || t.Down < was.Down {
		return t
	}
	return Traffic{Opened: t.Opened - was.Opened, Up: t.Up - was.Up, Down: t.Down - was.Down, Answers: t.Answers - was.Answers}
}
