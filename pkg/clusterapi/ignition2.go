package clusterapi

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/coreos/ignition/v2/config/v3_6/types"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
	"github.com/slipway-os/slipway/pkg/ignition"
	"github.com/slipway-os/slipway/pkg/state"
)

// Where the bootstrap provider puts what it has for kubeadm.
const (
	kubeadmUnit     = "kubeadm.service"
	kubeadmScript   = "/etc/kubeadm.sh"
	kubeadmSettings = "/etc/kubeadm.yml"
	ntpSettings     = "/etc/ntp.conf"
)

// ignition2 reads an Ignition config of specification 2.3. JSON is YAML.
func (r *reader) ignition2(data []byte) error {
	var err error
	if r.doc, err = document.Parse(r.name, data); err != nil {
		return err
	}
	var c config2
	if err := r.doc.Decode(&c); err != nil {
		r.collect(err, nil)
		return r.err()
	}
	if c.Ignition.Version != "2.3.0" {
		r.refuse(r.doc.Position("ignition.version"), "2.3.0", "unknown version %q of the specification", c.Ignition.Version)
		return r.err()
	}
	r.head(c.Ignition)
	for i, u := range c.Passwd.Users {
		r.config.Passwd.Users = append(r.config.Passwd.Users, u.translate())
		if u.Name == "" {
			r.refuse(r.doc.Position(at("passwd.users", i)), "", "a user has no name")
		}
	}
	for _, g := range c.Passwd.Groups {
		r.config.Passwd.Groups = append(r.config.Passwd.Groups, types.PasswdGroup{Name: g.Name, Gid: g.GID, PasswordHash: some(g.PasswordHash), System: g.System})
	}
	r.storage(c.Storage)
	script, found := r.files2(c.Storage.Files)
	r.networks(c.Networkd.Units)
	r.units2(c.Systemd.Units)
	if found {
		r.script(script)
	}
	return nil
}

func (r *reader) head(h head2) {
	r.config.Ignition.Timeouts = types.Timeouts{HTTPResponseHeaders: h.Timeouts.HTTPResponseHeaders, HTTPTotal: h.Timeouts.HTTPTotal}
	for _, a := range h.Config.Append {
		r.config.Ignition.Config.Merge = append(r.config.Ignition.Config.Merge, a.translate())
	}
	if h.Config.Replace != nil {
		r.refuse(r.doc.Position("ignition.config.replace"), "use ignition.config.append", "ignition.config.replace would throw the rest away")
	}
	for _, a := range h.Security.TLS.CertificateAuthorities {
		r.config.Ignition.Security.TLS.CertificateAuthorities = append(r.config.Ignition.Security.TLS.CertificateAuthorities, a.translate())
	}
}

// root refuses what lies in another file system than the root: later
// specifications know paths only.
func (r *reader) root(where, filesystem string) {
	if filesystem != "" && filesystem != "root" {
		r.refuse(r.doc.Position(where+".filesystem"), "let a unit mount it, and use the path", "%s.filesystem: only root is known", where)
	}
}

func (r *reader) storage(s storage2) {
	c := &r.config.Storage
	for i, d := range s.Directories {
		where := at("storage.directories", i)
		r.root(where, d.Filesystem)
		r.writable(where, d.Path)
		c.Directories = append(c.Directories, types.Directory{Node: d.node(), DirectoryEmbedded1: types.DirectoryEmbedded1{Mode: d.Mode}})
	}
	for i, l := range s.Links {
		where := at("storage.links", i)
		r.root(where, l.Filesystem)
		r.writable(where, l.Path)
		c.Links = append(c.Links, types.Link{Node: l.node(), LinkEmbedded1: types.LinkEmbedded1{Hard: l.Hard, Target: some(l.Target)}})
	}
	for _, d := range s.Disks {
		disk := types.Disk{Device: d.Device, WipeTable: d.WipeTable}
		for i, p := range d.Partitions {
			if p.Number == 0 && p.Label == nil { // then it was the next one
				p.Number = i + 1
			}
			disk.Partitions = append(disk.Partitions, types.Partition{
				GUID: some(p.GUID), Label: p.Label, Number: p.Number, ShouldExist: p.ShouldExist, SizeMiB: p.SizeMiB, StartMiB: p.StartMiB,
				TypeGUID: some(p.TypeGUID), WipePartitionEntry: p.WipePartitionEntry,
			})
		}
		c.Disks = append(c.Disks, disk)
	}
	for _, d := range s.Raid {
		raid := types.Raid{Name: d.Name, Level: some(d.Level), Spares: d.Spares}
		for _, device := range d.Devices {
			raid.Devices = append(raid.Devices, types.Device(device))
		}
		for _, o := range d.Options {
			raid.Options = append(raid.Options, types.RaidOption(o))
		}
		c.Raid = append(c.Raid, raid)
	}
	for i, f := range s.Filesystems {
		if f.Mount == nil {
			if f.Name != "root" {
				r.refuse(r.doc.Position(at("storage.filesystems", i)), "give mount", "%s: only root is known by its path", at("storage.filesystems", i))
			}
			continue
		}
		m := f.Mount
		fs := types.Filesystem{Device: m.Device, Format: some(m.Format), Label: m.Label, UUID: m.UUID, WipeFilesystem: m.WipeFilesystem}
		for _, o := range m.Options {
			fs.Options = append(fs.Options, types.FilesystemOption(o))
		}
		c.Filesystems = append(c.Filesystems, fs)
	}
}

func (r *reader) writable(where, name string) {
	if !state.Writable(name) {
		r.refuse(r.doc.Position(where+".path"), "", "%q cannot be written: the system is read-only but for %s", name, state.List())
	}
}

// files2 takes files. It returns the script that runs kubeadm.
func (r *reader) files2(files []file2) (script passage, found bool) {
	for i, f := range files {
		where := at("storage.files", i)
		pos := r.doc.Position(where + ".path")
		r.root(where, f.Filesystem)
		content, inline, err := ignition.Inline(f.Contents.Source)
		if err == nil && f.Contents.Compression == "gzip" {
			content, err = inflate(content)
		}
		if err != nil {
			r.refuse(r.doc.Position(where+".contents.source"), "", "%s: its content is damaged", where)
			continue
		}
		name := path.Clean(f.Path)
		inner := r.embed(f.Path, nil, false, content)
		needed := slices.Contains([]string{kubeadmSettings, kubeadmScript, ntpSettings, roleFile}, name)
		switch {
		case needed && !inline:
			r.refuse(pos, "write it inline", "%s lies elsewhere", name)
		case r.special(pos, name, kubeadmSettings, inner):
		case name == kubeadmScript:
			script, found = inner, true
		case name == ntpSettings:
			r.ntp(string(content), pos)
		default:
			r.add(given{f.translate(), pos, inner})
		}
	}
	return script, found
}

// ntp takes the servers of a file that is for an ntpd, which this system has
// not.
func (r *reader) ntp(content string, pos diag.Position) {
	for _, line := range strings.Split(content, "\n") {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "server" {
			n := r.scalar(document.Mapping(nil), words[1])
			r.places[n] = pos
			r.times = append(r.times, n)
		}
	}
}

// networks writes units of networkd as files, which is what they are.
func (r *reader) networks(units []unit2) {
	const dir = "/etc/systemd/network"
	for _, u := range units {
		if u.Contents != "" {
			r.files = append(r.files, given{File: ignition.File(path.Join(dir, path.Base(u.Name)), 0o644, []byte(u.Contents))})
		}
		for _, d := range u.Dropins {
			r.files = append(r.files, given{File: ignition.File(path.Join(dir, path.Base(u.Name)+".d", path.Base(d.Name)), 0o644, []byte(d.Contents))})
		}
	}
}

// units2 takes units. In kubeadm's place there is Slipway's own.
func (r *reader) units2(units []unit2) {
	for i, u := range units {
		where := at("systemd.units", i)
		unit := types.Unit{Name: u.Name, Enabled: u.Enabled, Mask: u.Mask, Contents: some(u.Contents)}
		if u.Enable {
			unit.Enabled = &u.Enable
		}
		switch {
		case u.Name == kubeadmUnit:
			if u.Contents != "" && !strings.Contains(u.Contents, "\nExecStart=/bin/bash "+kubeadmScript+"\n") {
				r.refuse(r.doc.Position(where+".contents"), "leave it to the bootstrap provider", "%s is not the one that Cluster API's bootstrap provider writes", kubeadmUnit)
			}
			if len(u.Dropins) == 0 {
				continue
			}
			unit = types.Unit{Name: "slipway-configure.service"}
		case u.Name == "ntpd.service" && u.Contents == "" && len(u.Dropins) == 0:
			if len(r.times) == 0 {
				r.refuse(r.doc.Position(where), "name some, or leave it out", "ntp names no servers")
			}
			continue
		}
		for _, d := range u.Dropins {
			if strings.Contains(d.Contents, "coreos-metadata") || strings.Contains(d.Contents, "/run/metadata/") {
				r.refuse(r.doc.Position(where+".dropins"), "leave it out, and name what the node cannot know", "%s, drop-in %q: nothing on this system asks the platform for metadata", u.Name, d.Name)
			}
			unit.Dropins = append(unit.Dropins, types.Dropin{Name: d.Name, Contents: some(d.Contents)})
		}
		r.config.Systemd.Units = append(r.config.Systemd.Units, unit)
	}
}

// The lines by which the bootstrap provider's script runs kubeadm, and says so.
var (
	scriptHead    = regexp.MustCompile(`^#!/bin/bash\nset -e\n`)
	scriptKubeadm = regexp.MustCompile(`(?m)^kubeadm (?:init|join) --config /etc/kubeadm\.yml(.*)\nmkdir -p /run/cluster-api && echo success > /run/cluster-api/bootstrap-success\.complete\nmv /etc/kubeadm\.yml /tmp/\n`)
)

// script takes the script that runs kubeadm apart: what it does before that,
// and after.
func (r *reader) script(in passage) {
	text := string(in.data)
	head, m := scriptHead.FindString(text), scriptKubeadm.FindStringSubmatchIndex(text)
	if head == "" || m == nil {
		r.refuse(in.place(1, 1), "leave it to the bootstrap provider", "%s is not the one that Cluster API's bootstrap provider writes", kubeadmScript)
		return
	}
	place := func(offset int) diag.Position { return in.place(strings.Count(text[:offset], "\n")+1, 1) }
	r.kubeadmFlags(place(m[0]), text[m[2]:m[3]])
	for _, part := range []struct {
		into     *script
		from, to int
	}{{&r.commands.before, len(head), m[0]}, {&r.commands.after, m[1], len(text)}} {
		lines := text[part.from:part.to]
		if at := strings.Index(lines, kubeadmSettings); at >= 0 {
			r.refuseEditing(place(part.from+at), kubeadmSettings)
		}
		part.into.strict = true
		if lines = strings.Trim(lines, "\n"); strings.TrimSpace(lines) != "" {
			part.into.lines = []string{lines}
		}
	}
}
