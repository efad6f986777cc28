// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Request is one that the API server has noted in its audit log, or a question of kubelet whether somebody may do
// something there.
type Request struct {
	User      string
	Verb      string
	Group     string // of the resource
	Resource  string // "" for a path that is none; with the subresource after a slash
	Namespace string
	Name      string
	Path      string // with the query
	Code      int    // of the answer
	Agent     string // the client's User-Agent
	Time      time.Time
}

func (c *ControlPlane) auditLog() string { return filepath.Join(c.dir, "audit.log") }

// Requests are those of service accounts since the start, watches at their beginning.
func (c *ControlPlane) Requests() ([]Request, error) {
	file, err := os.Open(c.auditLog())
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // It was only read.
	var all []Request
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return all, fmt.Errorf("read the audit log: %w", err)
		}
		if r, ok := e.request(); ok {
			all = append(all, r)
		}
	}
	return all, lines.Err()
}

// An event is a line of the audit log.
type event struct {
	Stage     string
	Verb      string
	URI       string    `json:"requestURI"`
	UserAgent string    `json:"userAgent"`
	Received  time.Time `json:"requestReceivedTimestamp"`
	User      struct{ Username string }
	Object    struct{ Resource, Subresource, Namespace, Name, APIGroup string } `json:"objectRef"`
	Response  struct{ Code int }                                                `json:"responseStatus"`
	Content   struct {
		Spec struct {
			User       string
			Attributes struct{ Verb, Group, Resource, Subresource, Name string } `json:"resourceAttributes"`
		}
	} `json:"requestObject"`
}

func (e event) request() (Request, bool) {
	r := Request{
		User: e.User.Username, Verb: e.Verb, Group: e.Object.APIGroup, Resource: join(e.Object.Resource, e.Object.Subresource),
		Namespace: e.Object.Namespace, Name: e.Object.Name, Path: e.URI, Code: e.Response.Code, Agent: e.UserAgent,
		Time: e.Received,
	}
	if asked := e.Content.Spec.Attributes; e.Object.Resource == "subjectaccessreviews" {
		r.User, r.Verb, r.Group, r.Name = e.Content.Spec.User, asked.Verb, asked.Group, asked.Name
		r.Resource, r.Code = join(asked.Resource, asked.Subresource), 200
	}
	// A watch that is refused has no beginning.
	watch := e.Verb == "watch" && r.Code < 300
	return r, e.Stage == "ResponseStarted" && watch || e.Stage == "ResponseComplete" && !watch
}

func join(resource, subresource string) string {
	return strings.TrimSuffix(resource+"/"+subresource, "/")
}
