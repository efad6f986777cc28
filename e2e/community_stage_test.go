// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	kube "torchbearer/e2e/cluster"
	"torchbearer/e2e/process"
)

// communityAgent runs the agent as the chart's container: as user and group 65534, in a root folder that has what the
// image has, with the volumes of the pod.
func communityAgent(t *testing.T, root string, control *kube.ControlPlane, account *kube.Account, ca string) *agent {
	t.Helper()
	program := torchbearer(t)
	copyFile(t, program, filepath.Join(root, "torchbearer"), 0o755)
	// The image's program is static; one that was built with the race detector is not.
	libraries, err := exec.Command("ldd", program).Output()
	if err == nil {
		for _, library := range regexp.MustCompile(`/\S+`).FindAllString(string(libraries), -1) {
			copyFile(t, library, filepath.Join(root, library), 0o755)
		}
	}
	secrets := filepath.Join(root, "var/run/secrets/kubernetes.io/serviceaccount")
	copyFile(t, account.TokenFile, filepath.Join(secrets, "token"), 0o644)
	copyFile(t, ca, filepath.Join(secrets, "ca.crt"), 0o644)
	writeFile(t, filepath.Join(secrets, "namespace"), account.Namespace)
	if err := os.Chmod(filepath.Join(secrets, "namespace"), 0o644); err != nil {
		t.Fatal(err)
	}
	mountConfigMap(t, root, "..1", communityConfig(t))
	// An emptyDir, as kubelet makes it for a pod with an fsGroup.
	data := filepath.Join(root, "data")
	if err := os.Mkdir(data, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, 0, 65534); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(data, 0o777|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	for dir := root; dir != filepath.Clean(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // t.TempDir makes folders that only root may enter.
			t.Fatal(err)
		}
	}
	host, port, _ := strings.Cut(control.Address(), ":")
	p, err := process.Start(t.Context(), process.Options{
		Path: "unshare", Env: []string{"KUBERNETES_SERVICE_HOST=" + host, "KUBERNETES_SERVICE_PORT=" + port},
		Args: append([]string{"--root=" + root, "--wd=/data", "--setgid=65534", "--setuid=65534", "/torchbearer"}, communityArgs()...),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		if t.Failed() {
			t.Logf("the last lines of the agent:\n%s", p.Tail(60))
		}
		if strings.Contains(p.Output(), "WARNING: DATA RACE") {
			t.Errorf("data race in the agent:\n%s", p.Output())
		}
	})
	return &agent{Process: p, url: "http://127.0.0.1:9090", dir: root, data: filepath.Join(data, "data-agent")}
}

// mountConfigMap writes the chart's ConfigMap as kubelet does: files in a folder of this version, which a link is then
// made to point to.
func mountConfigMap(t *testing.T, root, version, config string) {
	t.Helper()
	mount := filepath.Join(root, "etc/config")
	if err := os.MkdirAll(filepath.Join(mount, version), 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"prometheus.yaml": config, "alerting_rules.yml": "{}\n", "alerts": "{}\n", "recording_rules.yml": "{}\n", "rules": "{}\n",
		"allow-snippet-annotations": "false",
	}
	for name, text := range files {
		path := filepath.Join(mount, version, name)
		writeFile(t, path, text)
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("..data/"+name, filepath.Join(mount, name)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	next := filepath.Join(mount, "..data_tmp")
	if err := os.Symlink(version, next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(mount, "..data")); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, mode); err != nil {
		t.Fatal(err)
	}
}
