package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestLoginIsNeverShown(t *testing.T) {
	login := Login{Username: "ann", Password: "hunter2"}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("login", "login", login)
	if shown := fmt.Sprintf("%v %+v %#v %s %v %s", login, &login, login, struct{ L Login }{login}, fmt.Errorf("x: %v", login), log.String()); strings.Contains(shown, "hunter") {
		t.Errorf("the password is shown: %s", shown)
	}
	if data, err := json.Marshal(login); err != nil || strings.Contains(string(data), "hunter") {
		t.Errorf("the password is shown: %s, %v", data, err)
	}
}

// What registries say, as Docker tells it.
func TestRefusedPulls(t *testing.T) {
	const none, other = "and the cluster has no login there: dokkaacfg registry login ", "does not give it to user ann, or the password has changed: dokkaacfg registry login "
	ann := Login{Username: "ann", Password: "x"}
	for _, test := range []struct {
		text, image, says string
		login             Login
	}{
		{"pull access denied for shop/web, repository does not exist or may require 'docker login': denied: requested access to the resource is denied", "shop/web:1", none + "docker.io", Login{}},
		{`Get "https://registry-1.docker.io/v2/": unauthorized: incorrect username or password`, "shop/web:1", other + "docker.io", ann},
		{`Head "http://10.0.0.1:5000/v2/web/manifests/1": no basic auth credentials`, "10.0.0.1:5000/web:1", none + "10.0.0.1:5000", Login{}},
		{"unauthorized: authentication required", "registry.example.com/web", other + "registry.example.com", ann},
		{"error parsing HTTP 403 response body: denied", "ghcr.io/shop/web", other + "ghcr.io", ann},
		{"manifest unknown", "shop/web", "", ann},
		{"no such host", "shop/web", "", Login{}},
	} {
		if got := test.login.explain(errors.New(test.text), test.image).Error(); test.says == "" && got != test.text || !strings.Contains(got, test.says) || !strings.Contains(got, test.text) {
			t.Errorf("%s: %s", test.text, got)
		}
	}
}
