package schedule

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/dokkaa/dokkaa/internal/state"
)

// TestPlannerForgets: names of apps may come and go for ever.
func TestPlannerForgets(t *testing.T) {
	p := NewPlanner(state.NewInstanceID)
	now := time.Date(2014, 6, 1, 12, 0, 0, 0, time.UTC)
	p.SetHosts(map[string]Host{"10.0.0.1": {Host: state.Host{IP: "10.0.0.1"}}})
	for i := range 3 {
		ref := state.Ref{App: fmt.Sprintf("x%d", i), Name: "y"}
		keys := map[string]string{
			ref.ManifestKey(): `{"image": "a", "services": {"web": 80}, "near": ["z"], "apart": ["w"], "depends_on": ["v"], "secrets": ["s"],
				"volumes": [{"name": "data", "path": "/data"}]}`,
			state.SecretKey(ref.App, "s", 1):            "sealed",
			state.VolumeKey("10.0.0.1", "x---y---data"): `{"app": "` + ref.App + `", "name": "y", "slot": 1, "volume": "data"}`,
		}
		for key, value := range keys {
			p.Set(Node{Key: key, Value: value, Modified: 1, Created: 1}, now)
		}
		changes, _ := p.Plan(now)
		for _, change := range changes {
			keys[change.Key] = change.Value
			p.Set(Node{Key: change.Key, Value: change.Value, Modified: 2, Created: 2}, now)
		}
		p.Plan(now)
		for key := range keys {
			p.Unset(key)
		}
		p.Plan(now)
	}
	fields := reflect.ValueOf(p).Elem()
	for i := range fields.NumField() {
		if f := fields.Field(i); f.Kind() == reflect.Map && f.Len() > 0 && fields.Type().Field(i).Name != "hosts" {
			t.Errorf("%s keeps %v", fields.Type().Field(i).Name, f)
		}
	}
	if len(p.versions.secrets) > 0 {
		t.Errorf("versions keep %v", p.versions.secrets)
	}
}
