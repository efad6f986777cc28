// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	rbac "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"torchbearer/e2e/cluster"
)

func startControlPlane(t *testing.T) *cluster.ControlPlane {
	t.Helper()
	c, err := cluster.StartControlPlane(t.Context(), cluster.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestObjects makes nodes and pods, and looks that they are still there after the API server was killed.
func TestObjects(t *testing.T) {
	c := startControlPlane(t)
	err := cluster.Each(t.Context(), 10, func(ctx context.Context, i int) error {
		return c.CreateNode(ctx, fmt.Sprintf("node-%d", i), "127.0.0.1", 10250)
	})
	if err != nil {
		t.Fatal(err)
	}
	err = cluster.Each(t.Context(), 300, func(ctx context.Context, i int) error {
		return c.CreatePod(ctx, cluster.Pod{
			Name: fmt.Sprintf("pod-%d", i), Node: fmt.Sprintf("node-%d", i%10), IP: "127.0.0.2", Port: 80,
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	c.KillAPI()
	if err := c.StartAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	pods, err := c.Client().CoreV1().Pods("").List(t.Context(), meta.ListOptions{FieldSelector: "spec.nodeName=node-3"})
	if err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) != 30 || pods.Items[0].Status.PodIP != "127.0.0.2" {
		t.Errorf("node 3 has %d pods, want 30 with an address", len(pods.Items))
	}
	if err := cluster.Each(t.Context(), 3, func(context.Context, int) error { return io.EOF }); err != io.EOF { //nolint:errorlint // The very error.
		t.Errorf("Each returned %v", err)
	}
}

// TestAccount asks with the token of a service account, through everything that a test may put in between.
func TestAccount(t *testing.T) {
	c := startControlPlane(t)
	front, err := c.StartFront()
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	account, err := c.CreateAccount(t.Context(), "monitoring", "agent", front.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := clientOf(t, account)
	list := func() error {
		_, err := client.CoreV1().Pods("").List(t.Context(), meta.ListOptions{})
		return err
	}
	if err := list(); !apierrors.IsForbidden(err) {
		t.Errorf("without a role the answer is %v", err)
	}
	read := rbac.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}
	if err := c.Allow(t.Context(), "reader", "monitoring", true, read); err != nil {
		t.Fatal(err)
	}
	until(t, "the role counts", func(context.Context) error { return list() })
	front.Always(cluster.Fault{Status: http.StatusGone, Body: `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`})
	if err := list(); !apierrors.IsResourceExpired(err) {
		t.Errorf("with a fault the answer is %v", err)
	}
	front.Obey(nil)
	if err := account.Renew(-time.Second); err != nil {
		t.Fatal(err)
	}
	if err := clientOf(t, account).RESTClient().Get().AbsPath("/api").Do(t.Context()).Error(); !apierrors.IsUnauthorized(err) {
		t.Errorf("with an expired token the answer is %v", err)
	}
	requests, err := c.Requests()
	if err != nil {
		t.Fatal(err)
	}
	refused := slices.ContainsFunc(requests, func(r cluster.Request) bool {
		return r.Verb == "list" && r.Resource == "pods" && r.Code == 403 && strings.HasSuffix(r.User, ":monitoring:agent")
	})
	if !refused || front.Hurt() != 1 || front.Refused() == 0 {
		t.Errorf("noted are %+v; %d hurt, %d refused", requests, front.Hurt(), front.Refused())
	}
}

func clientOf(t *testing.T, account *cluster.Account) *kubernetes.Clientset {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", account.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// TestWire cuts the way to the API server and mends it.
func TestWire(t *testing.T) {
	c := startControlPlane(t)
	wire, err := c.StartWire()
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	account, err := c.CreateAccount(t.Context(), "monitoring", "agent", wire.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := clientOf(t, account)
	ask := func(timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		return client.RESTClient().Get().AbsPath("/version").Do(ctx).Error()
	}
	if err := ask(20 * time.Second); err != nil || wire.Received() == 0 {
		t.Errorf("%v after %d bytes", err, wire.Received())
	}
	wire.Cut()
	if err := ask(time.Second); err == nil {
		t.Error("there was an answer through a wire that is cut")
	}
	wire.Mend()
	until(t, "the wire carries again", func(context.Context) error { return ask(5 * time.Second) })
}
