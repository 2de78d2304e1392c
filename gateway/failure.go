package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
)

// etcd's own code for "the members did not agree", which its clients know as one to try again.
const codeRaftInternal = 300

var failurePage = template.Must(template.New("failure").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}}</title></head>
<body style="font-family: sans-serif; max-width: 45em; margin: 3em auto">
<h1>{{.Title}}</h1>
<p>{{.Advice}}</p>
<ul>{{range .Causes}}<li><code>{{.}}</code></li>{{end}}</ul>
</body></html>
`))

// failure is what a client is told instead of etcd's answer.
type failure struct {
	status        int
	Title, Advice string
	Causes        []string
}

func (g *Gateway) describe(err error) failure {
	f := failure{status: http.StatusServiceUnavailable, Title: "etcd is away",
		Advice: "No member of the cluster's memory answers this host's gateway. Containers run on; nothing can be read or changed until a majority of the members is back.",
		Causes: strings.Split(g.cluster.explain(), "; ")}
	if errors.Is(err, errOutcome) {
		f.status, f.Title = http.StatusGatewayTimeout, errOutcome.Error()
		f.Advice = "The member of etcd that was asked did not answer. Read the key before you write it again."
		f.Causes = []string{err.Error()}
	}
	return f
}

// fail answers with the failure: as a page to a browser, as etcd's own errors look to others.
func (g *Gateway) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // nobody listens
	}
	f := g.describe(err)
	g.log.Debug("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(f.status)
		if err := failurePage.Execute(w, f); err != nil {
			g.log.Debug("client left", "err", err)
		}
		return
	}
	g.writeError(w, f.status, f.Title, strings.Join(f.Causes, "; "))
}

// refuse answers a request that may not pass.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	var refused *refusal
	if errors.As(err, &refused) {
		status = refused.status
	}
	g.metrics.refused.WithLabelValues(fmt.Sprint(status)).Inc()
	g.log.Debug("request refused", "method", r.Method, "path", r.URL.Path, "host", r.Host,
		"client", r.RemoteAddr, "reason", err)
	http.Error(w, err.Error(), status)
}

func (g *Gateway) writeError(w http.ResponseWriter, status int, message, cause string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	body := struct {
		ErrorCode int    `json:"errorCode"`
		Message   string `json:"message"`
		Cause     string `json:"cause"`
		Index     uint64 `json:"index"`
	}{codeRaftInternal, message, cause, 0}
	if err := json.NewEncoder(w).Encode(body); err != nil {
		g.log.Debug("client left", "err", err)
	}
}
