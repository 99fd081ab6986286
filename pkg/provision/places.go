package provision

import (
	"bytes"
	"compress/gzip"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/coreos/ignition/v2/config/v3_6"
	"github.com/coreos/ignition/v2/config/v3_6/types"

	"github.com/slipway-os/slipway/pkg/ignition"
	"github.com/slipway-os/slipway/pkg/kubeadm"
	"github.com/slipway-os/slipway/pkg/role"
)

// place is why no Butane may write to a path, and what to do instead.
type place struct{ why, hint string }

// places are the paths that no Butane may write to on a node: the role, the
// files that the node is given besides it, and the keys of authorities that are
// not for a node like it.
func places(r *role.Role, files []File) map[string]place {
	all := map[string]place{role.File: {"is the role's own place", "change the role itself"}}
	for f, why := range kubeadm.ForeignKeys(r) {
		all[f] = place{why, "leave it out"}
	}
	mine := kubeadm.NewPKI(kubeadm.PKIDir, r).AuthorityFiles()
	for _, f := range files {
		// Of such a pair the node would have one half from here, the other from there.
		if name, found := strings.CutSuffix(f.Path, ".crt"); found && slices.Contains(mine, f.Path) {
			all[name+".key"] = place{"is the key of an authority that is kept elsewhere", "leave it out"}
		}
	}
	for _, f := range files {
		all[f.Path] = place{"follows from the secrets of the cluster", "leave it out"}
	}
	return all
}

// forbidden tells which of the places a config writes to, sorted; also by a
// config inside it that it merges.
func forbidden(c types.Config, all map[string]place) []string {
	var found []string
	add := func(p string) {
		if p = path.Clean(p); all[p] != (place{}) && !slices.Contains(found, p) {
			found = append(found, p)
		}
	}
	for _, d := range c.Storage.Directories {
		add(d.Path)
	}
	for _, f := range c.Storage.Files {
		add(f.Path)
	}
	for _, l := range c.Storage.Links {
		add(l.Path)
	}
	for _, m := range c.Ignition.Config.Merge {
		for _, p := range forbidden(inner(m), all) {
			add(p)
		}
	}
	slices.Sort(found)
	return found
}

// maxInner bounds a config inside another, unpacked, in bytes.
const maxInner = 32 << 20

// inner reads a config that another holds; one that lies elsewhere, or is none,
// is empty.
func inner(r types.Resource) types.Config {
	if r.Source == nil {
		return types.Config{}
	}
	data, _, err := ignition.Inline(*r.Source)
	if err == nil && r.Compression != nil && *r.Compression == "gzip" {
		var unpacked io.Reader
		if unpacked, err = gzip.NewReader(bytes.NewReader(data)); err == nil {
			data, err = io.ReadAll(io.LimitReader(unpacked, maxInner))
		}
	}
	if err != nil {
		return types.Config{}
	}
	c, _, _ := v3_6.ParseCompatibleVersion(data)
	return c
}
