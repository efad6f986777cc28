// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An Account is a service account for one client, with its kubeconfig.
type Account struct {
	Namespace  string
	Name       string
	Kubeconfig string // path
	TokenFile  string // path: what is written there is what the client shows from then on

	uid       string
	authority *authority
}

// CreateAccount makes a service account, unless it is there, and a kubeconfig for it which asks the API server at server ("" is the
// control plane's own URL), with a token that is good for a day.
func (c *ControlPlane) CreateAccount(ctx context.Context, namespace, name, server string) (*Account, error) {
	if err := c.CreateNamespace(ctx, namespace); err != nil {
		return nil, err
	}
	accounts := c.client.CoreV1().ServiceAccounts(namespace)
	made, err := accounts.Create(ctx, &core.ServiceAccount{ObjectMeta: meta.ObjectMeta{Name: name}}, meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		made, err = accounts.Get(ctx, name, meta.GetOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("create service account %s: %w", name, err)
	}
	dir, err := os.MkdirTemp(c.dir, "account-"+name+"-")
	if err != nil {
		return nil, err
	}
	a := &Account{
		Namespace: namespace, Name: name, uid: string(made.UID), authority: c.authority,
		Kubeconfig: filepath.Join(dir, "kubeconfig"), TokenFile: filepath.Join(dir, "token"),
	}
	if err := a.Renew(24 * time.Hour); err != nil {
		return nil, err
	}
	if server == "" {
		server = c.URL()
	}
	text := c.authority.kubeconfig(server, namespace, Identity{TokenFile: a.TokenFile})
	return a, os.WriteFile(a.Kubeconfig, []byte(text), 0o600)
}

// Renew writes a new token, as kubelet does: by renaming, so that no reader sees half of it.
func (a *Account) Renew(life time.Duration) error {
	token, err := a.authority.token(a.Namespace, a.Name, a.uid, life)
	if err != nil {
		return err
	}
	if err := os.WriteFile(a.TokenFile+".new", []byte(token), 0o600); err != nil {
		return err
	}
	return os.Rename(a.TokenFile+".new", a.TokenFile)
}

// CreateNamespace makes a namespace unless it is there.
func (c *ControlPlane) CreateNamespace(ctx context.Context, name string) error {
	_, err := c.client.CoreV1().Namespaces().Create(ctx,
		&core.Namespace{ObjectMeta: meta.ObjectMeta{Name: name}}, meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
