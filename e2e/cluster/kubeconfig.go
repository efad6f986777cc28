// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
)

// An Identity is who a kubeconfig says its user is: one of the fields.
type Identity struct {
	TokenFile string // read anew by clients, so that the token can be changed
	Token     string
	pair      *pair
}

// kubeconfig is the text of a kubeconfig file for the API server at this URL.
func (a *authority) kubeconfig(server, namespace string, who Identity) string {
	encode := base64.StdEncoding.EncodeToString
	user := fmt.Sprintf("tokenFile: %q", who.TokenFile)
	if who.Token != "" {
		user = fmt.Sprintf("token: %q", who.Token)
	}
	if who.pair != nil {
		user = fmt.Sprintf("client-certificate-data: %s, client-key-data: %s",
			encode(who.pair.certificate), encode(who.pair.key))
	}
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- {name: this, cluster: {server: %q, certificate-authority-data: %s}}
users:
- {name: this, user: {%s}}
contexts:
- {name: this, context: {cluster: this, user: this, namespace: %q}}
current-context: this
`, server, encode(a.pem), user, namespace)
}

// writeKubeconfig is kubeconfig for a user with a certificate, into a file of the authority's folder; it returns the
// path.
func (a *authority) writeKubeconfig(file, server, name, organization string) (string, error) {
	issued, err := a.issue(name, organization)
	if err != nil {
		return "", err
	}
	path := filepath.Join(a.dir, file+".kubeconfig")
	return path, os.WriteFile(path, []byte(a.kubeconfig(server, "default", Identity{pair: &issued})), 0o600)
}
