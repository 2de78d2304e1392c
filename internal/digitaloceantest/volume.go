package digitaloceantest

import (
	"net/http"
	"slices"
)

// Volume is block storage.
type Volume struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	GiB      int      `json:"size_gigabytes"`
	Droplets []int    `json:"droplet_ids"`
	Tags     []string `json:"tags"`
	Region   region   `json:"region"`
	Created  string   `json:"created_at"`
}

// AddVolume adds one, attached to the droplet of that name, if there is one.
func (a *API) AddVolume(name, attachedTo string, tags ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	volume := Volume{ID: a.data.uuid(), Name: name, GiB: 10, Droplets: []int{}, Tags: tags, Region: regionOf(Regions[0]), Created: now()}
	for _, d := range a.data.droplets {
		if d.Name == attachedTo {
			volume.Droplets, d.Volumes = []int{d.ID}, append(d.Volumes, volume.ID)
		}
	}
	a.data.addTags(tags)
	a.data.volumes = append(a.data.volumes, volume)
}

// Volumes are all that there are.
func (a *API) Volumes() []Volume {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.data.volumes)
}

func (a *account) deleteVolume(id string) reply {
	for _, v := range a.volumes {
		if v.ID == id && len(v.Droplets) > 0 {
			return refuse(http.StatusConflict, "Can't destroy a volume that is attached to a droplet")
		}
	}
	return remove(&a.volumes, id)
}
