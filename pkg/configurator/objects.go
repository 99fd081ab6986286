package configurator

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/flannel"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeapi"
	"github.com/slipway-os/slipway/pkg/role"
)

// applyNetwork lets every node of the cluster run what brings its pods' packets
// to the other nodes.
func (c *Configurator) applyNetwork(ctx context.Context) error {
	if c.role.Cluster.PodNetwork.Backend == role.NoNetwork {
		return nil
	}
	image, ok := c.image.Find(role.FlannelImage)
	if !ok {
		return &FatalError{diag.Inputf("the image lacks the container image %s, which the pod network needs; bake one with it, or say cluster.podNetwork.backend: none", role.FlannelImage)}
	}
	host, port := c.server()
	objects, err := flannel.Objects(c.role.Cluster, image, host, port)
	if err != nil {
		return err
	}
	client, err := c.superAdmin()
	if err != nil {
		return err
	}
	defer client.Close()
	return c.apply(ctx, client, objects)
}

// server is where all nodes reach the API server.
func (c *Configurator) server() (host, port string) {
	return kubeadm.SplitEndpoint(cmp.Or(c.role.Cluster.Endpoint, c.pinned.NodeIP))
}

// applyManifests applies what the role asks for, and names it.
func (c *Configurator) applyManifests(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	for _, o := range c.role.ManifestObjects() {
		if err := c.apply(ctx, client, []map[string]any{o}); err != nil {
			return err
		}
		c.status.Note("applied " + kubeapi.Describe(o))
	}
	return nil
}

// apply applies objects, each as often as it takes: what one needs (a
// namespace, a definition, somebody who admits it) may only be on its way.
func (c *Configurator) apply(ctx context.Context, client *kubeapi.Client, objects []map[string]any) error {
	for _, o := range objects {
		err := c.waitFor(ctx, c.local(), func(ctx context.Context) (string, error) {
			err := client.Apply(ctx, o)
			if err == nil {
				waiting, err := client.Established(ctx, o)
				return about(o, waiting), err
			}
			var status *kubeapi.StatusError
			var unknown *kubeapi.UnknownKindError
			switch {
			case errors.As(err, &unknown):
				return about(o, err.Error()), nil
			case errors.As(err, &status) && o["kind"] == "Secret":
				// Its words could quote the secret.
				return about(o, fmt.Sprintf("the API server refuses it with status %d", status.Code)), nil
			case errors.As(err, &status):
				return about(o, err.Error()), nil
			}
			return "", err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// about says of which object something is true; "" if nothing is.
func about(object map[string]any, what string) string {
	if what == "" {
		return ""
	}
	return kubeapi.Describe(object) + ": " + what
}

// bringsNetwork says whether the role lets the node become Ready: not without a
// pod network of ours, unless its manifests bring one.
func (c *Configurator) bringsNetwork() bool {
	return c.role.Cluster.PodNetwork.Backend != role.NoNetwork || len(c.role.Manifests) > 0
}

// hosted returns what asks for all that runs without a pod network, and says
// that the rest has to wait.
func (c *Configurator) hosted(client *kubeapi.Client) func(context.Context, string) (string, error) {
	c.status.Note("the role wants no pod network: the node is not Ready for pods before somebody installs one")
	return client.WaitingHosted
}
