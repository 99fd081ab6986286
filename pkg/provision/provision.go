// Package provision turns a role, and any Butane of the user's, into the one
// Ignition config that a machine is given at its first boot.
package provision

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/clarketm/json" // leaves out empty structs, as Butane does
	shared "github.com/coreos/ignition/v2/config/shared/errors"
	"github.com/coreos/ignition/v2/config/v3_6"
	"github.com/coreos/ignition/v2/config/v3_6/types"
	vreport "github.com/coreos/vcontext/report"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/ignition"
	"github.com/slipway-os/slipway/pkg/networkd"
	"github.com/slipway-os/slipway/pkg/role"
)

// RolePath is where the node finds its role.
const RolePath = "/etc/slipway/role.yaml"

// ButaneFile is a file of the user's that is merged over what the role asks for.
type ButaneFile struct {
	Name string // for messages
	Data []byte
}

// Option changes what Config makes.
type Option func(*options)

type options struct {
	keys  []string
	files []File
	has   func(program string) bool
}

// File is a file that the node is given besides its role.
type File struct {
	Path string // absolute
	Mode fs.FileMode
	Data []byte
}

// Files gives the node more files. The role on the node does not mention them.
func Files(files ...File) Option {
	return func(o *options) { o.files = append(o.files, files...) }
}

// ExtraKeys lets more SSH keys log in as root than the role names. The role on
// the node does not mention them.
func ExtraKeys(keys ...string) Option {
	return func(o *options) { o.keys = append(o.keys, keys...) }
}

// Programs tells which programs the image has, by absolute path, so that a
// config that needs others is refused. The default is to suppose all of them.
func Programs(has func(program string) bool) Option {
	return func(o *options) { o.has = has }
}

// Config returns the Ignition config of a role: compact JSON, always the same
// for the same input. roleFile is the role as the user wrote it, which is what
// the node gets. Where a Butane file says otherwise than the role, or than a
// file before it, it wins. Any warning of Butane's or Ignition's is an error.
func Config(r *role.Role, roleFile []byte, butane []ButaneFile, opts ...Option) ([]byte, error) {
	o := options{has: func(string) bool { return true }}
	for _, opt := range opts {
		opt(&o)
	}
	config := fromRole(r, roleFile, o.keys)
	for _, f := range o.files {
		config.Storage.Files = append(config.Storage.Files, file(f.Path, int(f.Mode.Perm()), f.Data))
	}
	var problems []error
	for _, f := range butane {
		over, err := translate(f, o.has)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		config = v3_6.Merge(config, over)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	data, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("writing the Ignition config: %w", err)
	}
	// Files that are right one by one may still not go together.
	_, report, err := v3_6.Parse(data)
	// Most proxies for HTTPS are spoken to in plain HTTP: they only pass on what
	// is encrypted from end to end.
	report.Entries = slices.DeleteFunc(report.Entries, func(e vreport.Entry) bool { return e.Message == shared.ErrInsecureProxy.Error() })
	if err != nil || len(report.Entries) > 0 {
		for _, e := range report.Entries {
			problems = append(problems, diag.Inputf("checking the merged Ignition config: %s: %s", e.Context, e.Message))
		}
		if len(problems) == 0 {
			problems = append(problems, diag.Inputf("checking the merged Ignition config: %w", err))
		}
		return nil, errors.Join(problems...)
	}
	if err := ignition.Check(data, o.has); err != nil {
		return nil, fmt.Errorf("checking the merged Ignition config: %w", err)
	}
	return append(data, '\n'), nil
}

// fromRole is what a role needs done before anything of Slipway's own runs on
// the node; the rest the configurator reads from the role itself.
func fromRole(r *role.Role, roleFile []byte, extraKeys []string) types.Config {
	c := types.Config{Ignition: types.Ignition{Version: types.MaxVersion.String()}}
	add := func(path string, mode int, content string) {
		c.Storage.Files = append(c.Storage.Files, file(path, mode, []byte(content)))
	}
	enable := func(unit string) {
		enabled := true
		c.Systemd.Units = append(c.Systemd.Units, types.Unit{Name: unit, Enabled: &enabled})
	}
	add(RolePath, 0o600, string(roleFile))
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

func file(path string, mode int, content []byte) types.File {
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
