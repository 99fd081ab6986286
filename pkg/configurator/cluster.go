package configurator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeapi"
)

// client asks this node's API server as the administrator.
func (c *Configurator) client() (*kubeapi.Client, error) {
	data, err := os.ReadFile(adminConfig)
	if err != nil {
		return nil, err
	}
	return kubeapi.FromKubeconfig(data, nil)
}

// waitAPI waits for the API server to live. What keeps it from
// that is told whenever it changes.
func (c *Configurator) waitAPI(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	said := time.Now()
	for {
		asked, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, err := client.Send(asked, http.MethodGet, "/livez", "", nil)
		cancel()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(said) > 20*time.Second {
			c.status.Waiting(why(err))
			said = time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// why says what is known of an API server that is not ready: which of the
// static pods' containers run.
func why(err error) string {
	var status *kubeapi.StatusError
	if errors.As(err, &status) {
		return "the API server answers, but is not ready: " + status.Message
	}
	running := runningPods()
	if len(running) == 0 {
		return "the kubelet has started no pod yet"
	}
	return "the API server does not answer; there are logs of " + strings.Join(running, ", ")
}

// runningPods names the pods whose containers have written logs.
func runningPods() []string {
	dirs, _ := filepath.Glob("/var/log/pods/kube-system_*/*")
	var names []string
	for _, d := range dirs {
		if name := filepath.Base(d); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// waitReady waits for the node to be Ready and every pod of kube-system to run.
func (c *Configurator) waitReady(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	said := ""
	for {
		asked, cancel := context.WithTimeout(ctx, 10*time.Second)
		waiting, err := client.Waiting(asked, c.pinned.NodeName)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			waiting = "the API server does not answer yet"
		case waiting == "":
			return c.forgetSecrets()
		}
		if waiting != said {
			c.status.Waiting(waiting)
			said = waiting
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// forgetSecrets removes from the disk what only the start needed.
func (c *Configurator) forgetSecrets() error {
	if err := removeAll(kubeadmFile); err != nil {
		return err
	}
	if c.pinned.Token == "" {
		return nil
	}
	c.pinned.Token, c.pinned.CertificateKey = "", ""
	data, err := json.Marshal(c.pinned)
	if err != nil {
		return err
	}
	return durable.WriteFile(pinnedFile, data, 0o600)
}

// configMap is a ConfigMap of the API.
type configMap struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   map[string]any    `json:"metadata"`
	Data       map[string]string `json:"data"`
}

// dns writes CoreDNS's configuration before kubeadm would, and at later boots
// follows a resolver that came or went: with a forwarder and no resolver
// CoreDNS does not start. A configuration of the user's own stays.
func (c *Configurator) dns(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	const all = "/api/v1/namespaces/kube-system/configmaps"
	const one = all + "/coredns"
	domain := c.role.Cluster.DNSDomain
	wanted := kubeadm.Corefile(domain, hasResolver())
	var old configMap
	for {
		err = client.Get(ctx, one, &old)
		var status *kubeapi.StatusError
		if err == nil || errors.As(err, &status) && status.Code == http.StatusNotFound {
			break
		}
		c.status.Waiting("the API server does not answer yet")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
	method, path := http.MethodPost, all
	if err == nil {
		method, path = http.MethodPut, one
		if now := old.Data["Corefile"]; now == wanted || now != kubeadm.Corefile(domain, !hasResolver()) {
			return nil
		}
	}
	body, err := json.Marshal(configMap{APIVersion: "v1", Kind: "ConfigMap", Metadata: map[string]any{"name": "coredns", "namespace": "kube-system"}, Data: map[string]string{"Corefile": wanted}})
	if err != nil {
		return err
	}
	if _, err := client.Send(ctx, method, path, "application/json", bytes.NewReader(body)); err != nil {
		return fmt.Errorf("writing the configuration of CoreDNS: %w", err)
	}
	return nil
}

// hasResolver says whether the node knows a resolver, as its pods see it.
func hasResolver() bool {
	data, err := os.ReadFile("/run/systemd/resolve/resolv.conf")
	if err != nil {
		return false
	}
	for _, line := range strings.Split(string(data), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" && !strings.HasPrefix(f[1], "127.") && f[1] != "::1" {
			return true
		}
	}
	return false
}
