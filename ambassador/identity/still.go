package identity

import "net/netip"

// Still says whether the caller with the ID has the address, and whether that is certain without a
// new listing. It is for those who went on for a while after Find.
func (c *Callers) Still(addr netip.Addr, id string) (still, certain bool) {
	v := c.view.Load()
	if who := v.callers[addr]; who == nil || who.ID != id {
		return false, true
	}
	if v.trusted {
		return true, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// As in Find, those who were there go on while Docker does not answer.
	return true, c.err != nil && c.listed == c.epoch
}
