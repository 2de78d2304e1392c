package digitaloceantest

import (
	"crypto/md5"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Regions are those that there are.
var Regions = []string{"fra1", "nyc3"}

// account is what somebody has at DigitalOcean.
type account struct {
	keys      []Key
	sizes     []size
	images    []image
	droplets  []*droplet
	firewalls []Firewall
	vpcs      []VPC
	volumes   []Volume
	tags      []string
	ids       int
}

// Key is a public key that droplets can be made with.
type Key struct {
	ID          int    `json:"id"`
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint"`
	PublicKey   string `json:"public_key"`
}

type size struct {
	Slug        string   `json:"slug"`
	Memory      int      `json:"memory"`
	CPUs        int      `json:"vcpus"`
	Disk        int      `json:"disk"`
	Transfer    float64  `json:"transfer"`
	Monthly     float64  `json:"price_monthly"`
	Hourly      float64  `json:"price_hourly"`
	Regions     []string `json:"regions"`
	Available   bool     `json:"available"`
	Description string   `json:"description"`
}

type image struct {
	ID           int      `json:"id"`
	Name         string   `json:"name"`
	Type         string   `json:"type"`
	Distribution string   `json:"distribution"`
	Slug         string   `json:"slug"`
	Public       bool     `json:"public"`
	Regions      []string `json:"regions"`
	Created      string   `json:"created_at"`
	MinDisk      int      `json:"min_disk_size"`
	Status       string   `json:"status"`
}

type region struct {
	Name      string   `json:"name"`
	Slug      string   `json:"slug"`
	Features  []string `json:"features"`
	Available bool     `json:"available"`
	Sizes     []string `json:"sizes"`
}

func newAccount() account {
	a := account{
		sizes: []size{
			{Slug: "s-1vcpu-1gb", Memory: 1024, CPUs: 1, Disk: 25, Transfer: 1, Monthly: 6, Hourly: 0.00893, Regions: Regions, Available: true, Description: "Basic"},
			{Slug: "s-1vcpu-2gb", Memory: 2048, CPUs: 1, Disk: 50, Transfer: 2, Monthly: 12, Hourly: 0.01786, Regions: Regions, Available: true, Description: "Basic"},
			{Slug: "s-2vcpu-4gb", Memory: 4096, CPUs: 2, Disk: 80, Transfer: 4, Monthly: 24, Hourly: 0.03571, Regions: Regions[:1], Available: true, Description: "Basic"},
			{Slug: "512mb", Memory: 512, CPUs: 1, Disk: 20, Transfer: 1, Monthly: 5, Hourly: 0.00744, Regions: []string{}, Available: false, Description: "Basic"},
		},
	}
	for _, slug := range []string{"debian-12-x64", "ubuntu-24-04-x64"} {
		distribution, version, _ := strings.Cut(strings.TrimSuffix(slug, "-x64"), "-")
		a.images = append(a.images, image{
			ID: a.id(), Name: version + " x64", Type: "base", Distribution: distribution, Slug: slug, Public: true,
			Regions: Regions, Created: now(), MinDisk: 7, Status: "available",
		})
	}
	for _, slug := range Regions {
		a.vpcs = append(a.vpcs, a.newVPC("default-"+slug, slug, "", true))
	}
	return a
}

func (a *account) id() int { a.ids++; return 1000 + a.ids }

// uuid is one that looks like theirs.
func (a *account) uuid() string {
	return fmt.Sprintf("5a4981aa-9653-4bd1-bef5-%012x", a.id())
}

func now() string { return time.Now().UTC().Format(time.RFC3339) }

// AddKey adds a public key.
func (a *API) AddKey(name, public string) Key {
	a.mu.Lock()
	defer a.mu.Unlock()
	var parts []string
	for _, b := range md5.Sum([]byte(public)) {
		parts = append(parts, fmt.Sprintf("%02x", b))
	}
	key := Key{ID: a.data.id(), Name: name, Fingerprint: strings.Join(parts, ":"), PublicKey: public}
	a.data.keys = append(a.data.keys, key)
	return key
}

func (a *account) size(slug string) (size, bool) {
	i := slices.IndexFunc(a.sizes, func(s size) bool { return s.Slug == slug })
	if i < 0 {
		return size{}, false
	}
	return a.sizes[i], true
}

func (a *account) findImage(name string) (image, bool) {
	i := slices.IndexFunc(a.images, func(i image) bool { return i.Slug == name || strconv.Itoa(i.ID) == name })
	if i < 0 {
		return image{}, false
	}
	return a.images[i], true
}

func (a *account) image(name string) reply {
	found, ok := a.findImage(name)
	if !ok {
		return refuse(http.StatusNotFound, "The resource you were accessing could not be found.")
	}
	return reply{status: http.StatusOK, body: map[string]any{"image": found}}
}

func regionOf(slug string) region {
	return region{Name: strings.ToUpper(slug), Slug: slug, Features: []string{"metadata", "storage"}, Available: true, Sizes: []string{"s-1vcpu-1gb"}}
}

func (a *account) createTag(r *http.Request) reply {
	var want struct {
		Name string `json:"name"`
	}
	if err := decode(r, &want); err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	a.addTags([]string{want.Name})
	return reply{status: http.StatusCreated, body: tagBody(want.Name)}
}

func (a *account) tag(name string) reply {
	if !slices.Contains(a.tags, name) {
		return refuse(http.StatusNotFound, "The resource you were accessing could not be found.")
	}
	return reply{status: http.StatusOK, body: tagBody(name)}
}

func tagBody(name string) any {
	return map[string]any{"tag": map[string]any{"name": name, "resources": map[string]any{}}}
}

// addTags makes the tags that there are not.
func (a *account) addTags(names []string) {
	for _, name := range names {
		if !slices.Contains(a.tags, name) {
			a.tags = append(a.tags, name)
		}
	}
}

// deleteTag takes the tag off everything.
func (a *account) deleteTag(name string) reply {
	if !slices.Contains(a.tags, name) {
		return refuse(http.StatusNotFound, "The resource you were accessing could not be found.")
	}
	is := func(tag string) bool { return tag == name }
	a.tags = slices.DeleteFunc(a.tags, is)
	for _, d := range a.droplets {
		d.Tags = slices.DeleteFunc(d.Tags, is)
	}
	for i := range a.firewalls {
		a.firewalls[i].Tags = slices.DeleteFunc(a.firewalls[i].Tags, is)
	}
	for i := range a.volumes {
		a.volumes[i].Tags = slices.DeleteFunc(a.volumes[i].Tags, is)
	}
	return reply{status: http.StatusNoContent}
}

// Tags are all that there are.
func (a *API) Tags() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.data.tags)
}
