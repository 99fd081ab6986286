// Package provision turns a role, and any Butane of the user's, into the one
// Ignition config that a machine is given at its first boot.
package provision

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/clarketm/json" // leaves out empty structs, as Butane does
	shared "github.com/coreos/ignition/v2/config/shared/errors"
	"github.com/coreos/ignition/v2/config/v3_6"
	vreport "github.com/coreos/vcontext/report"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/ignition"
	"github.com/slipway-os/slipway/pkg/role"
)

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
// file before it, it wins; but it may not write to the role itself, to what
// Files gives, or keys of authorities to a node that has no use for them. Any
// warning of Butane's or Ignition's is an error.
func Config(r *role.Role, roleFile []byte, butane []ButaneFile, opts ...Option) ([]byte, error) {
	o := options{has: func(string) bool { return true }}
	for _, opt := range opts {
		opt(&o)
	}
	config := ignition.OfRole(r, roleFile, o.keys)
	for _, f := range o.files {
		config.Storage.Files = append(config.Storage.Files, ignition.File(f.Path, int(f.Mode.Perm()), f.Data))
	}
	var problems []error
	not := places(r, o.files)
	for _, f := range butane {
		over, err := translate(f, not, o.has)
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
	if err := Validate(data, o.has); err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// Validate lets Ignition read a merged config, and finds what the system cannot
// do of what it asks for: files that are right one by one may still not go
// together. Any warning is an error.
func Validate(data []byte, has func(program string) bool) error {
	var problems []error
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
		return errors.Join(problems...)
	}
	if err := ignition.Check(data, has); err != nil {
		return fmt.Errorf("checking the merged Ignition config: %w", err)
	}
	return nil
}
