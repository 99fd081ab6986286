// Package clusterapi reads the user data that Cluster API's kubeadm bootstrap
// provider hands to machines, cloud-init's or Ignition's of specification 2.3,
// and makes of it what a Slipway node takes: an Ignition config of
// specification 3 that holds a role.
package clusterapi

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/coreos/ignition/v2/config/v3_6/types"
	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/ignition"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/role"
)

// Formats of user data.
const (
	CloudConfig = "cloud-config"
	Ignition2   = "Ignition 2.3"
)

// Machine is what is known of the machine that is given the user data.
type Machine struct {
	// Metadata returns the names of cloud-init's ds.meta_data that the machine
	// knows. It is asked once at most.
	Metadata func() (map[string]string, error)
	// Image is what the machine runs; without one, what an image must have is
	// not looked at.
	Image *manifest.Image
	// Has tells which programs the image has.
	Has func(program string) bool
}

// Translation is what user data becomes.
type Translation struct {
	Format   string
	Role     *role.Role
	RoleFile []byte // the role as the node gets it; it holds secrets
	Config   []byte // the Ignition config, role and all
}

// ErrForeign says that data is neither of the formats, nor one that is nearly
// one of them.
var ErrForeign = errors.New("neither a cloud-config nor an Ignition config of specification 2.3")

// hostname is where a machine has its name.
const hostname = "/etc/hostname"

// maxSize bounds user data once it is unpacked: more than any platform takes.
const maxSize = 4 << 20

// Translate translates user data that came from the named file. All problems
// are returned together, each with its place. No message quotes a secret.
func Translate(name string, data []byte, m Machine) (*Translation, error) {
	data, err := unpack(name, data)
	if err != nil {
		return nil, err
	}
	r := &reader{name: name, machine: m, places: map[*yaml.Node]diag.Position{}}
	r.metadata = sync.OnceValue(func() map[string]string {
		known, err := m.Metadata()
		r.collect(err, nil)
		return known
	})
	format, read := CloudConfig, r.cloudConfig
	switch is, refusal := recognise(data); {
	case is == Ignition2:
		format, read = Ignition2, r.ignition2
	case refusal != "":
		return nil, diag.At(diag.Position{File: name, Line: 1, Column: 1}, "let the bootstrap provider's user data reach the machine as it is", "%s", refusal)
	case is == "":
		return nil, ErrForeign
	}
	if len(data) > maxSize {
		return nil, tooLarge(name)
	}
	if err := read(data); err != nil {
		return nil, err
	}
	return r.finish(format)
}

// unpack returns data that may be compressed by gzip.
func unpack(name string, data []byte) ([]byte, error) {
	if !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		return data, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(z, maxSize+1))
	}
	switch {
	case err != nil:
		return nil, diag.At(diag.Position{File: name}, "", "damaged gzip: %v", err)
	case len(data) > maxSize:
		return nil, tooLarge(name)
	}
	return data, nil
}

func tooLarge(name string) error {
	return diag.At(diag.Position{File: name}, "", "larger than %d MiB", maxSize>>20)
}

// recognise returns the format of data; or what it is that only cloud-init
// itself could run.
func recognise(data []byte) (format, refusal string) {
	var config struct {
		Ignition struct {
			Version string `json:"version"`
		} `json:"ignition"`
	}
	if json.Unmarshal(data, &config) == nil {
		if strings.HasPrefix(config.Ignition.Version, "2.") {
			return Ignition2, ""
		}
		return "", ""
	}
	text := string(data[:min(len(data), 1<<10)])
	first, rest, _ := strings.Cut(text, "\n")
	if jinjaHeader.MatchString(first) {
		first, _, _ = strings.Cut(strings.TrimLeft(rest, "\r\n"), "\n")
	}
	first = strings.TrimRight(first, " \t\r")
	for start, what := range map[string]string{
		"#!": "a script", "#cloud-boothook": "a boothook", "#include": "a list of URLs", "#part-handler": "a part handler",
		"Content-Type:": "user data of several parts", "MIME-Version:": "user data of several parts",
	} {
		if strings.HasPrefix(first, start) {
			return "", what + ", which is for cloud-init to run, and there is none on this system"
		}
	}
	if first == "#cloud-config" {
		return CloudConfig, ""
	}
	return "", ""
}

// reader collects what user data asks for.
type reader struct {
	name     string
	machine  Machine
	metadata func() map[string]string
	doc      *document.Document // the user data
	lines    []string
	// places is where the values come from that the role is made of.
	places   map[*yaml.Node]diag.Position
	problems []*diag.Error

	config   types.Config // all but what the role becomes
	files    []given
	commands commands
	settings passage      // kubeadm's configuration
	own      passage      // what the user says of the role
	times    []*yaml.Node // servers of the time
}

// given is a file, and where it was given.
type given struct {
	types.File
	pos  diag.Position
	text passage
}

// passage is a text within the user data.
type passage struct {
	data  []byte
	place func(line, column int) diag.Position
}

func (r *reader) refuse(pos diag.Position, hint, format string, args ...any) {
	r.problems = append(r.problems, diag.At(pos, hint, format, args...))
}

// collect takes problems that others found.
func (r *reader) collect(err error, place func(line, column int) diag.Position) {
	var d *diag.Error
	joined, several := err.(interface{ Unwrap() []error })
	switch {
	case err == nil:
	case several:
		for _, e := range joined.Unwrap() {
			r.collect(e, place)
		}
	case errors.As(err, &d):
		pos := d.Pos
		if place != nil {
			pos = place(d.Pos.Line, d.Pos.Column)
		}
		r.refuse(pos, d.Hint, "%s", d.Msg)
	default:
		r.refuse(diag.Position{File: r.name}, "", "%v", err)
	}
}

// err returns all problems, in the order of their places.
func (r *reader) err() error {
	slices.SortStableFunc(r.problems, func(a, b *diag.Error) int {
		return cmp.Or(cmp.Compare(a.Pos.File, b.Pos.File), cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
	var all []error
	for _, p := range r.problems {
		if len(all) == 0 || all[len(all)-1].Error() != p.Error() {
			all = append(all, p)
		}
	}
	return errors.Join(all...)
}

// finish makes the role, and the config that holds it.
func (r *reader) finish(format string) (*Translation, error) {
	tree := r.role()
	if err := r.err(); err != nil {
		return nil, err
	}
	made, err := role.Of(document.Of(tree, r.where))
	if err == nil && r.machine.Image != nil {
		err = made.CheckImage(*r.machine.Image)
	}
	r.collect(err, nil)
	if err == nil && made.Node.Name == "" {
		r.nameHost()
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	t := &Translation{Format: format, Role: made}
	if t.RoleFile, err = document.Encode(tree, 0); err != nil {
		return nil, err
	}
	t.Config, err = r.assemble(made, t.RoleFile)
	return t, err
}

// nameHost names the machine as its platform does, where nothing else names it.
func (r *reader) nameHost() {
	if slices.ContainsFunc(r.files, func(f given) bool { return f.Path == hostname }) {
		return
	}
	if name := r.metadata()["local_hostname"]; name != "" {
		r.files = append(r.files, given{File: ignition.File(hostname, 0o644, []byte(name+"\n"))})
	}
}

// where is the place of a value of the role: its own, or that of what is in it.
func (r *reader) where(n *yaml.Node) diag.Position {
	if pos, known := r.places[n]; known {
		return pos
	}
	for _, c := range n.Content {
		if pos := r.where(c); pos.Line > 0 {
			return pos
		}
	}
	return diag.Position{File: r.name}
}

// assemble makes the config of what was collected.
func (r *reader) assemble(made *role.Role, roleFile []byte) ([]byte, error) {
	c := ignition.OfRole(made, roleFile, nil)
	for _, f := range slices.Concat(r.files, r.commands.files()) {
		put(&c.Storage.Files, f.File)
	}
	c.Ignition.Config, c.Ignition.Timeouts = r.config.Ignition.Config, r.config.Ignition.Timeouts
	tls := &c.Ignition.Security.TLS
	tls.CertificateAuthorities = append(tls.CertificateAuthorities, r.config.Ignition.Security.TLS.CertificateAuthorities...)
	s := r.config.Storage
	c.Storage.Disks, c.Storage.Raid, c.Storage.Filesystems, c.Storage.Directories, c.Storage.Links = s.Disks, s.Raid, s.Filesystems, s.Directories, s.Links
	c.Passwd.Groups = r.config.Passwd.Groups
	for _, u := range r.config.Passwd.Users {
		if len(u.SSHAuthorizedKeys) > 0 {
			r.enable("ssh.service")
		}
		same := slices.IndexFunc(c.Passwd.Users, func(o types.PasswdUser) bool { return o.Name == u.Name })
		if same < 0 {
			c.Passwd.Users = append(c.Passwd.Users, u)
			continue
		}
		u.SSHAuthorizedKeys = append(c.Passwd.Users[same].SSHAuthorizedKeys, u.SSHAuthorizedKeys...)
		c.Passwd.Users[same] = u
	}
	for _, u := range slices.Concat(r.config.Systemd.Units, r.commands.units()) {
		putUnit(&c.Systemd.Units, u)
	}
	data, err := marshal(c)
	if err != nil {
		return nil, err
	}
	return data, ignition.Check(data, r.machine.Has)
}

func (r *reader) enable(unit string) {
	yes := true
	putUnit(&r.config.Systemd.Units, types.Unit{Name: unit, Enabled: &yes})
}

// putUnit adds a unit, or to the unit of that name.
func putUnit(units *[]types.Unit, u types.Unit) {
	i := slices.IndexFunc(*units, func(o types.Unit) bool { return o.Name == u.Name })
	if i < 0 {
		*units = append(*units, u)
		return
	}
	same := &(*units)[i]
	same.Contents, same.Enabled, same.Mask = cmp.Or(u.Contents, same.Contents), cmp.Or(u.Enabled, same.Enabled), cmp.Or(u.Mask, same.Mask)
	same.Dropins = append(same.Dropins, u.Dropins...)
}

// put adds a file. As with cloud-init, which writes one after the other, of two
// with the same path the later one stays, and what is appended comes after it.
func put(files *[]types.File, f types.File) {
	i := slices.IndexFunc(*files, func(o types.File) bool { return o.Path == f.Path })
	switch {
	case i < 0:
		*files = append(*files, f)
	case len(f.Append) > 0:
		(*files)[i].Append = append((*files)[i].Append, f.Append...)
	default:
		(*files)[i] = f
	}
}
