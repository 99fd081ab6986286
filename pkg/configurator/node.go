package configurator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/journal"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/podnet"
	"github.com/slipway-os/slipway/pkg/role"
)

// node finds out the node's name and address and pins them, together with
// the secrets that each run of kubeadm would otherwise make anew.
func (c *Configurator) node(ctx context.Context) error {
	if c.pinned.NodeName != "" {
		return c.writeConfig(c.pinned)
	}
	c.warnOfSize()
	name, err := c.name()
	if err != nil {
		return err
	}
	var address, second string
	if c.role.Role == role.Etcd {
		m, err := c.member(ctx, name)
		if err != nil {
			return err
		}
		name, address = m.Name, m.IP
	} else if address, second, err = c.addresses(ctx, c.role.Cluster.PodSubnets); err != nil {
		return err
	}
	pinned, err := kubeadm.NewPinned(name, address)
	if err != nil {
		return err
	}
	pinned.SecondIP, pinned.Kind = second, c.kind()
	pinned.Keyless = c.keyless(kubeadm.NewPKI(c.path(kubeadm.PKIDir), c.role))
	if err := durable.WriteFile(c.path("/etc/hostname"), []byte(name+"\n"), 0o644); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("setting the host name %q: %w", name, err)
	}
	if err := c.pin(pinned); err != nil {
		return err
	}
	return c.writeConfig(pinned)
}

// member finds out which of the etcd members this node is. By its address,
// that may have to come from DHCP.
func (c *Configurator) member(ctx context.Context, name string) (role.Member, error) {
	patience := time.Minute
	if c.role.Node.Name != "" {
		patience = 0
	}
	var m role.Member
	var unknown error
	known, err := c.within(ctx, patience, func() string {
		if m, unknown = c.role.Etcd.Member(name, podnet.HasAddress); unknown != nil {
			return "this node has no address of an etcd member yet"
		}
		return ""
	})
	if err == nil && !known {
		err = &FatalError{diag.At(c.role.Position("etcd.members"), "name it there, or give it node.name", "%v", unknown)}
	}
	return m, err
}

// name is what the role names the node, else the host's name, else one from
// its machine id.
func (c *Configurator) name() (string, error) {
	if name := c.role.Node.Name; name != "" {
		return strings.ToLower(name), nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", err
	}
	id, err := os.ReadFile(c.path("/etc/machine-id"))
	if err != nil {
		return "", err
	}
	return nodeName(host, string(id))
}

// A name of a Node (Kubernetes, "Object Names and IDs": RFC 1123 subdomain)
// that is a host name too.
var namePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

func nodeName(host, machineID string) (string, error) {
	name := strings.ToLower(host)
	if name == "" || name == "localhost" || strings.HasPrefix(name, "localhost.") || name == "(none)" {
		if len(machineID) < 8 {
			return "", errors.New("this machine has neither a host name nor a machine id; give it node.name in the role")
		}
		name = "node-" + machineID[:8]
	}
	if len(name) > 63 || !namePattern.MatchString(name) {
		return "", &FatalError{diag.Inputf("the host name %q cannot be the name of a Kubernetes node; give the node another with node.name in the role", host)}
	}
	return name, nil
}

// pin keeps on the disk what must stay the same.
func (c *Configurator) pin(p kubeadm.Pinned) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(c.path(pinnedFile), data, 0o600); err != nil {
		return err
	}
	c.pinned = p
	return nil
}

// recall reads what was pinned.
func (c *Configurator) recall() error {
	data, err := os.ReadFile(c.path(pinnedFile))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &c.pinned); err != nil || c.pinned.NodeName == "" || c.pinned.NodeIP == "" {
		return &FatalError{fmt.Errorf("reading %s: it is damaged; restore it from a backup, or give the machine a fresh disk to configure it anew", pinnedFile)}
	}
	c.remember()
	return c.compare()
}

// compare warns if the role was changed in what cannot change any more, and
// refuses one that goes through other steps than were begun: those that both
// have would be taken for done.
func (c *Configurator) compare() error {
	if c.pinned.Kind != "" && c.pinned.Kind != c.kind() {
		if c.begun() {
			return &FatalError{diag.At(c.role.Position("role"), "take the change back, or give the machine a fresh disk", "this node was being set up as %q, and cannot become %q any more", c.pinned.Kind, c.kind())}
		}
		p := c.pinned
		p.Kind = c.kind()
		if err := c.pin(p); err != nil {
			return err
		}
	}
	for _, f := range []struct{ field, now, pinned string }{
		{"node.name", c.role.Node.Name, c.pinned.NodeName},
		{"node.ip", c.role.Node.IP, c.pinned.NodeIP},
		{"node.secondIP", c.role.Node.SecondIP, c.pinned.SecondIP},
	} {
		if f.now != "" && f.now != f.pinned {
			c.status.Warn(fmt.Sprintf("%s is now %s, but this node was set up with %q and keeps that; a fresh disk takes the new one", f.field, f.now, f.pinned))
		}
	}
	return nil
}

// Kinds of nodes, as they are pinned.
const (
	kindEtcd   = "etcd"
	kindWorker = "worker"
	kindJoin   = "control-plane join"
	kindInit   = "control-plane init"
)

// kind is which steps the node goes through.
func (c *Configurator) kind() string {
	switch {
	case c.role.Role == role.Etcd:
		return kindEtcd
	case c.role.Role == role.Worker:
		return kindWorker
	case c.role.Join != nil:
		return kindJoin
	}
	return kindInit
}

// begun says whether a step was begun that leaves anything of its own behind:
// not those that all nodes have, nor to wait for the cluster.
func (c *Configurator) begun() bool {
	return slices.ContainsFunc(c.journal.Entries(), func(e journal.Entry) bool {
		return !slices.Contains([]string{"clock", "node", "images", "network", "cluster"}, e.Step)
	})
}

// remember lets the role have the subnets that it leaves to the cluster.
func (c *Configurator) remember() {
	if k := &c.role.Cluster; len(k.ServiceSubnets) == 0 {
		k.PodSubnets, k.ServiceSubnets = c.pinned.PodSubnets, c.pinned.ServiceSubnets
	}
}

// addresses waits for the node's own address, of the family of the cluster's
// subnets; of any family as long as these are not known. On a cluster of both
// families the second is that of the other, if there is one before long.
func (c *Configurator) addresses(ctx context.Context, subnets []string) (first, second string, err error) {
	if first = c.role.Node.IP; first == "" {
		families := []bool{false, true}
		if len(subnets) > 0 {
			families = []bool{isV6(subnets[0])}
		}
		if first, err = c.uplink(ctx, time.Minute, families...); err != nil {
			return "", "", err
		}
	}
	if second = c.role.Node.SecondIP; second == "" && len(subnets) > 1 {
		v6 := !isV6(first)
		second, err = c.uplink(ctx, 15*time.Second, v6)
		if err != nil {
			if ctx.Err() != nil {
				return "", "", err
			}
			c.status.Note(fmt.Sprintf("no interface has an %s address: the node registers with %s only", family(v6), first))
			second = ""
		}
	}
	return first, second, nil
}

func isV6(text string) bool { return strings.Contains(text, ":") }

func family(v6 bool) string {
	if v6 {
		return "IPv6"
	}
	return "IPv4"
}

// uplink waits for an address of one of some families, the first of them that
// there is.
func (c *Configurator) uplink(ctx context.Context, patience time.Duration, v6 ...bool) (string, error) {
	var found string
	known, err := c.within(ctx, patience, func() string {
		for _, f := range v6 {
			if a, ok := podnet.Uplink(f); ok {
				found = a.String()
				return ""
			}
		}
		return fmt.Sprintf("no interface has an %s address yet", family(v6[0]))
	})
	if err == nil && !known {
		err = fmt.Errorf("no interface got an %s address", family(v6[0]))
	}
	return found, err
}

// writeConfig writes the configuration that every phase reads.
func (c *Configurator) writeConfig(p kubeadm.Pinned) error {
	if p.Token == "" {
		// They are gone since the node was Ready, and phases that are run again
		// hand none to anybody.
		fresh, err := kubeadm.NewPinned(p.NodeName, p.NodeIP)
		if err != nil {
			return err
		}
		p.Token, p.CertificateKey = fresh.Token, fresh.CertificateKey
	}
	config, err := kubeadm.Config(c.role, c.image, p, c.discovery())
	if err != nil {
		return err
	}
	if c.role.Init != nil || c.role.VirtualIP != nil {
		if err := c.resolveEndpoint(); err != nil {
			return err
		}
	}
	if err := c.writePatches(); err != nil {
		return err
	}
	if err := c.writeAPIServerFiles(); err != nil {
		return err
	}
	return durable.WriteFile(c.path(kubeadmFile), config, 0o600)
}

// writePatches writes what is laid over what kubeadm writes on this node, and
// nothing else: kubeadm reads all that lies there.
func (c *Configurator) writePatches() error {
	dir := c.path(kubeadm.PatchDir)
	files, err := kubeadm.Patches(c.role)
	if err == nil {
		err = os.RemoveAll(dir)
	}
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return err
	}
	for name, patch := range files {
		if err := durable.WriteFile(filepath.Join(dir, name), patch, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeAPIServerFiles writes what the API server of this node is started with.
func (c *Configurator) writeAPIServerFiles() error {
	if c.role.APIServer.Encryption {
		if _, err := os.Stat(c.path(kubeadm.EncryptionFile)); err != nil {
			return &FatalError{diag.At(c.role.Position("apiServer.encryption"), "`builder cluster render` lays it down, or a Butane file of yours", "Secrets are to be encrypted, but %s is missing", kubeadm.EncryptionFile)}
		}
	}
	for file, document := range kubeadm.APIServerFiles(c.role) {
		data, err := kubeadm.YAML(document)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(c.path(file)), 0o755); err != nil {
			return err
		}
		if err := durable.WriteFile(c.path(file), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// resolveEndpoint lets the node know itself by the endpoint's name where no
// resolver does: it is the only one that can be meant yet. Control planes that
// share an address know that.
func (c *Configurator) resolveEndpoint() error {
	host, _ := kubeadm.SplitEndpoint(c.role.Cluster.Endpoint)
	if host == "" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := net.DefaultResolver.LookupHost(ctx, host); err == nil {
		return nil
	}
	file := c.path("/etc/hosts")
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	address := c.pinned.NodeIP
	if v := c.role.VirtualIP; v != nil {
		address = v.Addresses[0]
	}
	changed := withHost(data, address, host)
	if bytes.Equal(changed, data) {
		return nil
	}
	return durable.WriteFile(file, changed, 0o644)
}

// withHost returns a hosts(5) file that has a name, once.
func withHost(hosts []byte, address, name string) []byte {
	for _, line := range bytes.Split(hosts, []byte("\n")) {
		line, _, _ = bytes.Cut(line, []byte("#"))
		for i, word := range bytes.Fields(line) {
			if i > 0 && strings.EqualFold(string(word), name) {
				return hosts
			}
		}
	}
	if len(hosts) > 0 && hosts[len(hosts)-1] != '\n' {
		hosts = append(hosts, '\n')
	}
	return fmt.Appendf(hosts, "%s %s\n", address, name)
}
