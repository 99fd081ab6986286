package clusterapi

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/coreos/ignition/v2/config/v3_6/types"
	"go.yaml.in/yaml/v3"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/ignition"
	"github.com/slipway-os/slipway/pkg/state"
)

// cloudConfig is the part of cloud-init's format that can be honoured here.
type cloudConfig struct {
	WriteFiles []cloudFile `yaml:"write_files"`
	Runcmd     []any       `yaml:"runcmd"`
	Bootcmd    []any       `yaml:"bootcmd"`
	Users      []cloudUser `yaml:"users"`
	NTP        *cloudNTP   `yaml:"ntp"`
	Hostname   string      `yaml:"hostname"`
}

type cloudFile struct {
	Path        string `yaml:"path"`
	Content     string `yaml:"content"`
	Encoding    string `yaml:"encoding"`
	Owner       string `yaml:"owner"`
	Permissions string `yaml:"permissions"`
	Append      bool   `yaml:"append"`
	Defer       bool   `yaml:"defer"` // Ignition writes files after it made users
}

type cloudUser struct {
	Name         string   `yaml:"name"`
	Passwd       string   `yaml:"passwd"`
	Gecos        string   `yaml:"gecos"`
	Groups       any      `yaml:"groups"`
	HomeDir      string   `yaml:"homedir"`
	Inactive     bool     `yaml:"inactive"`
	LockPasswd   *bool    `yaml:"lock_passwd"`
	Shell        string   `yaml:"shell"`
	PrimaryGroup string   `yaml:"primary_group"`
	Sudo         any      `yaml:"sudo"`
	Keys         []string `yaml:"ssh_authorized_keys"`
}

type cloudNTP struct {
	Enabled *bool    `yaml:"enabled"`
	Servers []string `yaml:"servers"`
	Pools   []string `yaml:"pools"`
}

// placeholder is a file that the bootstrap provider writes for its directory's
// sake. firstboot makes that.
const placeholder = "/run/cluster-api/placeholder"

func (r *reader) cloudConfig(data []byte) error {
	in := r.render(string(data))
	if err := r.err(); err != nil {
		return err
	}
	var err error
	if r.doc, err = document.Parse(r.name, []byte(in)); err != nil {
		return err
	}
	r.lines = strings.Split(in, "\n")
	var c cloudConfig
	if err := r.doc.Decode(&c); err != nil {
		r.collect(err, nil)
		return r.err() // what follows would complain of it again
	}
	settings := r.runcmd(c)
	if err := r.err(); err != nil {
		return err // which files are kubeadm's is not known
	}
	for i, f := range c.WriteFiles {
		r.cloudFile(at("write_files", i), f, settings)
	}
	for i, u := range c.Users {
		r.cloudUser(at("users", i), u)
	}
	if c.NTP != nil && (c.NTP.Enabled == nil || *c.NTP.Enabled) {
		if len(c.NTP.Servers)+len(c.NTP.Pools) == 0 {
			r.refuse(r.doc.Position("ntp"), "name some, or leave it out", "ntp names no servers")
		}
		for _, list := range []string{"ntp.servers", "ntp.pools"} {
			if n := r.doc.Node(list); n != nil && n.Kind == yaml.SequenceNode {
				r.times = append(r.times, r.keep(n, r.document).Content...)
			}
		}
	}
	if c.Hostname != "" {
		r.files = append(r.files, given{File: ignition.File(hostname, 0o644, []byte(c.Hostname+"\n"))})
	}
	return nil
}

// at is the path of an element of a list.
func at(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// document is the place of something in the user data itself.
func (r *reader) document(line, column int) diag.Position {
	return diag.Position{File: r.name, Line: line, Column: column}
}

// cloudFile takes a file. Kubeadm's configuration, whose path is settings, and
// what the user says of the role do not become files.
func (r *reader) cloudFile(where string, f cloudFile, settings string) {
	pos := r.doc.Position(where + ".path")
	content, compressed, err := decode(f.Content, f.Encoding)
	if err != nil {
		r.refuse(r.doc.Position(where+".content"), "", "%s: %v", where, err)
		return
	}
	plain := content
	if compressed {
		if plain, err = inflate(content); err != nil {
			r.refuse(r.doc.Position(where+".content"), "", "%s: damaged gzip", where)
			return
		}
	}
	name := path.Clean(f.Path)
	inner := r.embed(f.Path, r.doc.Node(where+".content"), f.Encoding == "" || f.Encoding == "text/plain", plain)
	if name == placeholder || r.special(pos, name, settings, inner) {
		return
	}
	file := types.File{Node: types.Node{Path: name}}
	file.User, file.Group = owner(f.Owner)
	mode := 0o644
	if f.Permissions != "" {
		m, err := strconv.ParseUint(f.Permissions, 8, 12)
		if err != nil {
			r.refuse(r.doc.Position(where+".permissions"), "as in '0640'", "%s.permissions: %q is not a mode", where, f.Permissions)
		}
		mode = int(m)
	}
	file.Mode = &mode
	resource := types.Resource{Source: dataURL(content)}
	if compressed {
		gzipped := "gzip"
		resource.Compression = &gzipped
	}
	if f.Append {
		file.Append = []types.Resource{resource}
	} else {
		yes := true
		file.Contents, file.Overwrite = resource, &yes
	}
	r.add(given{file, pos, inner})
}

// special takes a file that says what the role is, and reports whether it is
// one.
func (r *reader) special(pos diag.Position, name, settings string, inner passage) bool {
	var into *passage
	switch name {
	case settings:
		into = &r.settings
	case roleFile:
		into = &r.own
	default:
		return false
	}
	if into.place != nil {
		r.refuse(pos, "put both into one", "%s is given twice", name)
	}
	*into = inner
	return true
}

// add takes a file, if the system can keep it.
func (r *reader) add(f given) {
	switch {
	case !path.IsAbs(f.Path):
		r.refuse(f.pos, "", "%q is not an absolute path", f.Path)
	case !state.Writable(f.Path):
		r.refuse(f.pos, "", "%q cannot be written: the system is read-only but for %s", f.Path, state.List())
	case strings.HasPrefix(f.Path, "/etc/sudoers.d/"):
		r.needSudo(f.pos, "/etc/sudoers.d")
		fallthrough
	default:
		r.files = append(r.files, f)
	}
}

func (r *reader) needSudo(pos diag.Position, what string) {
	if !r.machine.Has("/usr/bin/sudo") {
		r.refuse(pos, "add its package to the profile's os.packages, or let root log in", "%s: this image has no sudo", what)
	}
}

// decode returns what a file is to hold by cloud-init's names of encodings; it
// may still be compressed by gzip.
func decode(content, encoding string) (data []byte, compressed bool, err error) {
	data = []byte(content)
	switch encoding {
	case "", "text/plain":
		return data, false, nil
	case "b64", "base64", "gz+b64", "gz+base64", "gzip+b64", "gzip+base64":
		data, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(content), ""))
		if err != nil {
			err = fmt.Errorf("its content is not base64")
		}
		return data, strings.HasPrefix(encoding, "gz"), err
	}
	return nil, false, fmt.Errorf("unknown encoding %q (known: base64, gzip+base64)", encoding)
}

// inflate unpacks gzip.
func inflate(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxSize+1))
	if err == nil && len(plain) > maxSize {
		err = fmt.Errorf("larger than %d MiB", maxSize>>20)
	}
	return plain, err
}

func dataURL(data []byte) *string {
	source := "data:;base64," + base64.StdEncoding.EncodeToString(data)
	return &source
}

// owner takes user:group apart. Numbers are ids. Root is whose all files are.
func owner(text string) (types.NodeUser, types.NodeGroup) {
	user, group, _ := strings.Cut(text, ":")
	var u types.NodeUser
	var g types.NodeGroup
	identify(strings.TrimSpace(user), &u.Name, &u.ID)
	identify(strings.TrimSpace(group), &g.Name, &g.ID)
	return u, g
}

func identify(text string, name **string, id **int) {
	if n, err := strconv.Atoi(text); err == nil {
		*id = &n
	} else if text != "" && text != "root" {
		*name = &text
	}
}

// embed is a text that is the value of the user data's n: where its lines are
// lines of the user data, their places are there, else in a file of that name.
func (r *reader) embed(name string, n *yaml.Node, plain bool, data []byte) passage {
	if n == nil || !plain || n.Style&yaml.LiteralStyle == 0 {
		file := r.name + ": " + name
		return passage{data, func(line, column int) diag.Position { return diag.Position{File: file, Line: line, Column: column} }}
	}
	indent := 0
	for i, line := range strings.Split(string(data), "\n") {
		if trimmed := strings.TrimLeft(line, " "); trimmed != "" && n.Line+i < len(r.lines) {
			written := r.lines[n.Line+i]
			indent = max(0, len(written)-len(strings.TrimLeft(written, " "))-(len(line)-len(trimmed)))
			break
		}
	}
	above := n.Line
	return passage{data, func(line, column int) diag.Position { return r.document(above+line, column+indent) }}
}
