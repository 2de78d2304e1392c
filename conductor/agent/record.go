package agent

import (
	"encoding/json"

	"github.com/dokkaa/dokkaa/conductor/engine"
	"github.com/dokkaa/dokkaa/internal/state"
	"github.com/dokkaa/dokkaa/skydns/msg"
)

const (
	recordTTL = 5 // seconds that an answer may be remembered
	webApp    = "web"
)

// records are the keys and values that announce a container's services. Services of role web
// are also announced as <app>.web, where the router finds them.
func records(hostIP string, d Desired, c engine.Container) map[string]string {
	all := map[string]string{}
	for name, service := range d.Services {
		port, published := c.Ports[portOf(service)]
		if !published {
			continue
		}
		value, err := json.Marshal(msg.Service{Host: hostIP, Port: port, Priority: service.Priority, Weight: service.Weight, TTL: recordTTL})
		if err != nil {
			panic(err) // numbers and strings can be marshalled
		}
		for _, key := range recordKeys(d, name) {
			all[key] = string(value)
		}
	}
	return all
}

// recordKeys are where the instance's service of this name is announced.
func recordKeys(d Desired, name string) []string {
	if d.Services[name].UDP() {
		return []string{state.UDPRecordKey(d.App, name, d.Instance)}
	}
	keys := []string{state.RecordKey(d.App, name, d.Instance)}
	if d.Services[name].Role == "web" {
		keys = append(keys, state.RecordKey(webApp, d.App, d.Instance))
	}
	return keys
}
