package ignition

import (
	"encoding/base64"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/coreos/ignition/v2/config/v3_6/types"

	"github.com/slipway-os/slipway/pkg/networkd"
	"github.com/slipway-os/slipway/pkg/role"
)

// OfRole is what a role needs done before anything of Slipway's own runs on
// the node; the rest the configurator reads from the role itself.
func OfRole(r *role.Role, roleFile []byte, extraKeys []string) types.Config {
	c := types.Config{Ignition: types.Ignition{Version: types.MaxVersion.String()}}
	add := func(path string, mode int, content string) {
		c.Storage.Files = append(c.Storage.Files, File(path, mode, []byte(content)))
	}
	enable := func(unit string) {
		enabled := true
		c.Systemd.Units = append(c.Systemd.Units, types.Unit{Name: unit, Enabled: &enabled})
	}
	add(role.File, 0o600, string(roleFile))
	if r.Node.Name != "" {
		add("/etc/hostname", 0o644, r.Node.Name+"\n")
	}
	var keys []types.SSHAuthorizedKey
	for _, k := range slices.Concat(r.SSH.AuthorizedKeys, extraKeys) {
		if key := types.SSHAuthorizedKey(strings.TrimSpace(k)); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	if len(keys) > 0 {
		c.Passwd.Users = []types.PasswdUser{{Name: "root", SSHAuthorizedKeys: keys}}
		enable("ssh.service")
	}
	if servers := r.Time.Servers; len(servers) > 0 {
		add("/etc/systemd/timesyncd.conf.d/10-role.conf", 0o644, "[Time]\nNTP="+strings.Join(servers, " ")+"\n")
		enable("systemd-timesyncd.service")
	}
	if servers := r.DNS.Servers; len(servers) > 0 {
		add("/etc/systemd/resolved.conf.d/10-role.conf", 0o644, "[Resolve]\nDNS="+strings.Join(servers, " ")+"\n")
	}
	proxy(r, &c, add)
	for _, f := range networkd.Files(r.Network) {
		add(path.Join(networkd.Dir, f.Name), 0o644, f.Content)
	}
	return c
}

// File is a file of a config that holds its content itself.
func File(path string, mode int, content []byte) types.File {
	source := "data:;base64," + base64.StdEncoding.EncodeToString(content)
	overwrite := true // the path may be in the image, and an interrupted first boot is run again
	return types.File{
		Node:          types.Node{Path: path, Overwrite: &overwrite},
		FileEmbedded1: types.FileEmbedded1{Mode: &mode, Contents: types.Resource{Source: &source}},
	}
}

// proxy lets Ignition, and containerd later, go through a proxy.
func proxy(r *role.Role, c *types.Config, add func(path string, mode int, content string)) {
	p := r.Proxy
	some := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	if p.CA != "" {
		// Go programs read every file there.
		add("/etc/ssl/certs/proxy.pem", 0o644, p.CA)
		source := "data:;base64," + base64.StdEncoding.EncodeToString([]byte(p.CA))
		c.Ignition.Security.TLS.CertificateAuthorities = []types.Resource{{Source: &source}}
	}
	if p.HTTP == "" && p.HTTPS == "" {
		return
	}
	c.Ignition.Proxy = types.Proxy{HTTPProxy: some(p.HTTP), HTTPSProxy: some(p.HTTPS)}
	for _, n := range r.NoProxy() {
		c.Ignition.Proxy.NoProxy = append(c.Ignition.Proxy.NoProxy, types.NoProxyItem(n))
	}
	var env strings.Builder
	for _, v := range []struct{ name, value string }{{"HTTP_PROXY", p.HTTP}, {"HTTPS_PROXY", p.HTTPS}, {"NO_PROXY", strings.Join(r.NoProxy(), ",")}} {
		if v.value != "" {
			fmt.Fprintf(&env, "%s=%s\n", v.name, v.value)
		}
	}
	add("/etc/default/containerd", 0o644, env.String())
}
