package digitaloceantest

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
)

// Droplet is a machine at DigitalOcean.
type Droplet struct {
	ID       int        `json:"id"`
	Name     string     `json:"name"`
	Memory   int        `json:"memory"`
	CPUs     int        `json:"vcpus"`
	Disk     int        `json:"disk"`
	Locked   bool       `json:"locked"`
	Status   string     `json:"status"`
	Created  string     `json:"created_at"`
	Features []string   `json:"features"`
	Backups  []int      `json:"backup_ids"`
	Snaps    []int      `json:"snapshot_ids"`
	Image    image      `json:"image"`
	Volumes  []string   `json:"volume_ids"`
	Size     size       `json:"size"`
	SizeSlug string     `json:"size_slug"`
	Networks networks   `json:"networks"`
	Region   region     `json:"region"`
	Tags     []string   `json:"tags"`
	VPC      string     `json:"vpc_uuid"`
	Order    Order      `json:"-"`
	Public   netip.Addr `json:"-"`
	Private  netip.Addr `json:"-"`
}

// Order is what a droplet was made with that the API does not show.
type Order struct {
	UserData   string
	PublicKeys []string
}

type networks struct {
	V4 []networkV4 `json:"v4"`
	V6 []any       `json:"v6"`
}

type networkV4 struct {
	Address string `json:"ip_address"`
	Netmask string `json:"netmask"`
	Gateway string `json:"gateway"`
	Type    string `json:"type"`
}

type droplet struct {
	Droplet
	boot  sync.WaitGroup // of its machine
	made  bool           // it has a machine
	reads int            // since then, without addresses yet
	dying int            // reads until it is gone
}

// Machines makes what droplets run on. Without one they are names and addresses only.
type Machines interface {
	// Make makes the machine of a droplet, which becomes active when it returns, with these
	// addresses. It is called for several at the same time, and ctx ends with the test.
	Make(ctx context.Context, d Droplet) (public, private netip.Addr, err error)
	// Destroy removes it, after Make has returned, also with an error.
	Destroy(d Droplet) error
}

// SetMachines says what droplets made from now on run on.
func (a *API) SetMachines(m Machines) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.machines = m
}

// SetLate lets droplets be read so many times before they have a public address, twice as often
// before they are active and can be deleted, and once more before they have a private address; and
// a deleted one be read so many times before it is gone.
func (a *API) SetLate(reads int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.late = reads
}

// Wait waits until all machines are made, and those destroyed that are to be.
func (a *API) Wait() { a.making.Wait() }

// Droplets are all that there are.
func (a *API) Droplets() []Droplet {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []Droplet
	for _, d := range a.data.droplets {
		all = append(all, d.Droplet)
	}
	return all
}

// Lose removes a droplet behind everybody's back.
func (a *API) Lose(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range slices.Clone(a.data.droplets) {
		if d.Name == name {
			a.bury(d)
		}
	}
}

// listDroplets is one read of them.
func (a *API) listDroplets(tag string) []Droplet {
	var all []Droplet
	for _, d := range slices.Clone(a.data.droplets) {
		if tag != "" && !slices.Contains(d.Tags, tag) {
			continue
		}
		if a.read(d) {
			all = append(all, d.Droplet)
		}
	}
	return all
}

// read moves a droplet on by one read, and tells whether it is still there.
func (a *API) read(d *droplet) bool {
	if d.dying > 0 {
		if d.dying--; d.dying == 0 {
			a.bury(d)
			return false
		}
		return true
	}
	if d.made && len(d.Networks.V4) < 2 {
		d.Networks.V4 = []networkV4{}
		if d.reads >= a.late {
			d.Networks.V4 = append(d.Networks.V4, networkV4{Address: d.Public.String(), Netmask: "255.255.240.0", Gateway: "203.0.113.1", Type: "public"})
		}
		if d.reads >= 2*a.late {
			d.Status = "active"
		}
		if d.reads >= 2*a.late+min(1, a.late) {
			d.Networks.V4 = append(d.Networks.V4, networkV4{Address: d.Private.String(), Netmask: "255.255.240.0", Type: "private"})
		}
		d.reads++
	}
	return true
}

func (a *API) getDroplet(id string) reply {
	for _, d := range slices.Clone(a.data.droplets) {
		if strconv.Itoa(d.ID) == id && a.read(d) {
			return reply{status: http.StatusOK, body: map[string]any{"droplet": d.Droplet}}
		}
	}
	return refuse(http.StatusNotFound, "The resource you were accessing could not be found.")
}

func (a *API) createDroplet(r *http.Request) reply {
	var want struct {
		Name     string   `json:"name"`
		Region   string   `json:"region"`
		Size     string   `json:"size"`
		Image    any      `json:"image"`
		Keys     []any    `json:"ssh_keys"`
		Tags     []string `json:"tags"`
		UserData string   `json:"user_data"`
		VPC      string   `json:"vpc_uuid"`
	}
	if err := decode(r, &want); err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	size, known := a.data.size(want.Size)
	image, there := a.data.findImage(fmt.Sprint(want.Image))
	keys, err := a.data.publicKeys(want.Keys)
	vpc := slices.IndexFunc(a.data.vpcs, func(v VPC) bool { return v.ID == want.VPC && v.Region == want.Region })
	switch {
	case want.Name == "":
		return refuse(http.StatusUnprocessableEntity, "several at once are not written")
	case !slices.Contains(Regions, want.Region):
		return refuse(http.StatusUnprocessableEntity, "You specified an invalid region for Droplet creation.")
	case !known || !size.Available || !slices.Contains(size.Regions, want.Region):
		return refuse(http.StatusUnprocessableEntity, "Size is not available in this region.")
	case !there:
		return refuse(http.StatusUnprocessableEntity, "You specified an invalid image for Droplet creation.")
	case err != nil:
		return refuse(http.StatusUnprocessableEntity, "%v", err)
	case len(want.UserData) > 64<<10:
		return refuse(http.StatusUnprocessableEntity, "User data may not exceed 64 KiB.")
	case vpc < 0:
		return refuse(http.StatusUnprocessableEntity, "VPC %q is not in %s", want.VPC, want.Region)
	}
	made := &droplet{Droplet: Droplet{
		ID: a.data.id(), Name: want.Name, Memory: size.Memory, CPUs: size.CPUs, Disk: size.Disk, Status: "new", Created: now(),
		Features: []string{"private_networking"}, Backups: []int{}, Snaps: []int{}, Image: image, Volumes: []string{},
		Size: size, SizeSlug: size.Slug, Networks: networks{V4: []networkV4{}, V6: []any{}}, Region: regionOf(want.Region),
		Tags: append([]string{}, want.Tags...), VPC: want.VPC, Order: Order{UserData: want.UserData, PublicKeys: keys},
	}}
	a.data.addTags(want.Tags)
	a.data.droplets = append(a.data.droplets, made)
	a.start(made)
	action := map[string]any{"id": a.data.id(), "rel": "create", "href": "https://api.digitalocean.com/v2/actions/1"}
	return reply{status: http.StatusAccepted, body: map[string]any{"droplet": made.Droplet, "links": map[string]any{"actions": []any{action}}}}
}

func (a *account) publicKeys(ids []any) (keys []string, err error) {
	for _, id := range ids {
		i := slices.IndexFunc(a.keys, func(k Key) bool { return fmt.Sprint(id) == strconv.Itoa(k.ID) || id == k.Fingerprint })
		if i < 0 {
			return nil, fmt.Errorf("%v are invalid key identifiers for Droplet creation", id)
		}
		keys = append(keys, a.keys[i].PublicKey)
	}
	return keys, nil
}

// start gives a droplet its machine.
func (a *API) start(d *droplet) {
	if a.machines == nil {
		d.Public = netip.AddrFrom4([4]byte{203, 0, 113, byte(d.ID)})
		d.Private = netip.AddrFrom4([4]byte{10, 114, 0, byte(d.ID)})
		d.made = true
		return
	}
	machines, droplet := a.machines, d.Droplet
	d.boot.Add(1)
	a.making.Go(func() {
		defer d.boot.Done()
		public, private, err := machines.Make(a.ctx, droplet)
		a.mu.Lock()
		defer a.mu.Unlock()
		if err != nil {
			a.violation = append(a.violation, fmt.Errorf("make the machine of droplet %s: %w", d.Name, err))
			return
		}
		d.Public, d.Private, d.made = public, private, true
	})
}

func (a *API) destroyDroplet(id string) reply {
	i := slices.IndexFunc(a.data.droplets, func(d *droplet) bool { return strconv.Itoa(d.ID) == id })
	if i < 0 {
		return refuse(http.StatusNotFound, "The resource you were accessing could not be found.")
	}
	d := a.data.droplets[i]
	if d.dying > 0 || a.late > 0 && d.Status == "new" {
		return refuse(http.StatusUnprocessableEntity, "Droplet already has a pending event.")
	}
	if a.late == 0 {
		a.bury(d)
		return reply{status: http.StatusNoContent}
	}
	d.dying, d.Status, d.Locked = a.late, "off", true
	return reply{status: http.StatusNoContent}
}

// bury removes a droplet and its machine. Its volumes stay.
func (a *API) bury(gone *droplet) {
	a.data.droplets = slices.DeleteFunc(a.data.droplets, func(d *droplet) bool { return d == gone })
	for i := range a.data.volumes {
		a.data.volumes[i].Droplets = slices.DeleteFunc(a.data.volumes[i].Droplets, func(id int) bool { return id == gone.ID })
	}
	if a.machines != nil {
		machines := a.machines
		a.making.Go(func() {
			gone.boot.Wait()
			if err := machines.Destroy(gone.Droplet); err != nil {
				a.mu.Lock()
				defer a.mu.Unlock()
				a.violation = append(a.violation, fmt.Errorf("destroy the machine of droplet %s: %w", gone.Name, err))
			}
		})
	}
}
