package configurator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/kubeapi"
)

// vacancyPatience is how long whoever serves a cluster may take to say so.
const vacancyPatience = 5 * time.Second

// vacant makes sure that the cluster that this node is to start does not run
// yet. A machine that is installed anew from the config it had would start a
// second one beside it, of the same authority, and clients would be answered
// now by one, now by the other.
func (c *Configurator) vacant(ctx context.Context) error {
	ca, err := os.ReadFile(filepath.Join(c.path(kubeadm.PKIDir), "ca.crt"))
	if err != nil {
		return err
	}
	asked, cancel := context.WithTimeout(ctx, vacancyPatience)
	defer cancel()
	servers := c.others()
	answers := make(chan error, len(servers))
	for _, server := range servers {
		go func() { answers <- unserved(asked, server, ca) }()
	}
	for range servers {
		if err := <-answers; err != nil {
			return err
		}
	}
	return ctx.Err()
}

// others are the addresses at which the cluster would be served if it ran.
func (c *Configurator) others() []string {
	var servers []string
	if c.role.Cluster.Endpoint != "" {
		host, port := kubeadm.SplitEndpoint(c.role.Cluster.Endpoint)
		servers = append(servers, net.JoinHostPort(host, port))
	}
	planes := slices.Clone(c.role.Init.Others)
	if c.role.VirtualIP != nil {
		for _, plane := range c.role.VirtualIP.ControlPlanes {
			planes = append(planes, plane.IP)
		}
	}
	for _, ip := range planes {
		server := net.JoinHostPort(ip, strconv.Itoa(c.role.APIPort()))
		if ip != c.pinned.NodeIP && !slices.Contains(servers, server) {
			servers = append(servers, server)
		}
	}
	return servers
}

// unserved is nil unless an API server with a certificate of the authority
// answers.
func unserved(ctx context.Context, server string, ca []byte) error {
	client, err := kubeapi.SignedBy(ca, server)
	if err != nil {
		return &FatalError{err}
	}
	defer client.Close()
	_, err = client.Send(ctx, http.MethodGet, "/version", "", nil)
	var refused *kubeapi.StatusError
	if err != nil && !errors.As(err, &refused) {
		return nil
	}
	return &FatalError{fmt.Errorf("the cluster of this node's authority runs already, at %s, and a second one beside it would answer its clients, too: "+
		"have the node join (`join` in its role; in cluster.yaml, a control plane that runs comes first), or stop what runs there", server)}
}
