package identity

import "net/netip"

// Still says whether the caller with the ID has the address, and whether that is certain without a
// new listing. It is for those who went on for a while after Find, and does not block.
func (c *Callers) Still(addr netip.Addr, id string) (still, certain bool) {
	v := c.view.Load()
	if who := v.callers[addr]; who == nil || who.ID != id {
		return false, true
	}
	if v.trusted {
		return true, true
	}
	who, _ := c.resident(addr)
	return true, who != nil && who.ID == id
}
