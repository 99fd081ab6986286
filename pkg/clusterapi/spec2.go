package clusterapi

import (
	"path"

	"github.com/coreos/ignition/v2/config/v3_6/types"
)

// config2 is an Ignition config of specification 2.3 (Ignition, "Configuration
// Specification v2.3.0"), but for what later ones have no words for.
type config2 struct {
	Ignition head2    `yaml:"ignition"`
	Passwd   passwd2  `yaml:"passwd"`
	Storage  storage2 `yaml:"storage"`
	Systemd  struct {
		Units []unit2 `yaml:"units"`
	} `yaml:"systemd"`
	Networkd struct {
		Units []unit2 `yaml:"units"`
	} `yaml:"networkd"`
}

type head2 struct {
	Version string `yaml:"version"`
	Config  struct {
		Append  []resource2 `yaml:"append"`
		Replace *resource2  `yaml:"replace"`
	} `yaml:"config"`
	Timeouts struct {
		HTTPResponseHeaders *int `yaml:"httpResponseHeaders"`
		HTTPTotal           *int `yaml:"httpTotal"`
	} `yaml:"timeouts"`
	Security struct {
		TLS struct {
			CertificateAuthorities []resource2 `yaml:"certificateAuthorities"`
		} `yaml:"tls"`
	} `yaml:"security"`
}

type resource2 struct {
	Source       string `yaml:"source"`
	Compression  string `yaml:"compression"`
	Verification struct {
		Hash *string `yaml:"hash"`
	} `yaml:"verification"`
}

func (r resource2) translate() types.Resource {
	return types.Resource{Source: &r.Source, Compression: some(r.Compression), Verification: types.Verification{Hash: r.Verification.Hash}}
}

type passwd2 struct {
	Users  []user2 `yaml:"users"`
	Groups []struct {
		Name         string `yaml:"name"`
		GID          *int   `yaml:"gid"`
		PasswordHash string `yaml:"passwordHash"`
		System       *bool  `yaml:"system"`
	} `yaml:"groups"`
}

type user2 struct {
	Name         string   `yaml:"name"`
	PasswordHash *string  `yaml:"passwordHash"`
	Keys         []string `yaml:"sshAuthorizedKeys"`
	UID          *int     `yaml:"uid"`
	Gecos        string   `yaml:"gecos"`
	HomeDir      string   `yaml:"homeDir"`
	NoCreateHome *bool    `yaml:"noCreateHome"`
	PrimaryGroup string   `yaml:"primaryGroup"`
	Groups       []string `yaml:"groups"`
	NoUserGroup  *bool    `yaml:"noUserGroup"`
	NoLogInit    *bool    `yaml:"noLogInit"`
	Shell        string   `yaml:"shell"`
	System       *bool    `yaml:"system"`
}

func (u user2) translate() types.PasswdUser {
	user := types.PasswdUser{
		Name: u.Name, PasswordHash: u.PasswordHash, UID: u.UID, Gecos: some(u.Gecos), HomeDir: some(u.HomeDir), NoCreateHome: u.NoCreateHome,
		PrimaryGroup: some(u.PrimaryGroup), NoUserGroup: u.NoUserGroup, NoLogInit: u.NoLogInit, Shell: some(u.Shell), System: u.System,
	}
	for _, k := range u.Keys {
		user.SSHAuthorizedKeys = append(user.SSHAuthorizedKeys, types.SSHAuthorizedKey(k))
	}
	for _, g := range u.Groups {
		user.Groups = append(user.Groups, types.Group(g))
	}
	return user
}

type storage2 struct {
	Files       []file2 `yaml:"files"`
	Directories []node2 `yaml:"directories"`
	Links       []node2 `yaml:"links"`
	Disks       []struct {
		Device     string       `yaml:"device"`
		WipeTable  *bool        `yaml:"wipeTable"`
		Partitions []partition2 `yaml:"partitions"`
	} `yaml:"disks"`
	Raid []struct {
		Name    string   `yaml:"name"`
		Level   string   `yaml:"level"`
		Devices []string `yaml:"devices"`
		Spares  *int     `yaml:"spares"`
		Options []string `yaml:"options"`
	} `yaml:"raid"`
	Filesystems []struct {
		Name  string  `yaml:"name"`
		Path  *string `yaml:"path"`
		Mount *struct {
			Device         string   `yaml:"device"`
			Format         string   `yaml:"format"`
			Label          *string  `yaml:"label"`
			UUID           *string  `yaml:"uuid"`
			WipeFilesystem *bool    `yaml:"wipeFilesystem"`
			Options        []string `yaml:"options"`
		} `yaml:"mount"`
	} `yaml:"filesystems"`
}

type partition2 struct {
	Label              *string `yaml:"label"`
	Number             int     `yaml:"number"`
	SizeMiB            *int    `yaml:"sizeMiB"`
	StartMiB           *int    `yaml:"startMiB"`
	TypeGUID           string  `yaml:"typeGuid"`
	GUID               string  `yaml:"guid"`
	WipePartitionEntry *bool   `yaml:"wipePartitionEntry"`
	ShouldExist        *bool   `yaml:"shouldExist"`
}

type owner2 struct {
	ID   *int    `yaml:"id"`
	Name *string `yaml:"name"`
}

// node2 is a directory or a link, which has a target.
type node2 struct {
	Filesystem string `yaml:"filesystem"`
	Path       string `yaml:"path"`
	Overwrite  *bool  `yaml:"overwrite"`
	User       owner2 `yaml:"user"`
	Group      owner2 `yaml:"group"`
	Mode       *int   `yaml:"mode"`
	Target     string `yaml:"target"`
	Hard       *bool  `yaml:"hard"`
}

func (n node2) node() types.Node {
	return types.Node{Path: path.Clean(n.Path), Overwrite: n.Overwrite, User: types.NodeUser{ID: n.User.ID, Name: n.User.Name}, Group: types.NodeGroup{ID: n.Group.ID, Name: n.Group.Name}}
}

type file2 struct {
	Filesystem string    `yaml:"filesystem"`
	Path       string    `yaml:"path"`
	Overwrite  *bool     `yaml:"overwrite"`
	User       owner2    `yaml:"user"`
	Group      owner2    `yaml:"group"`
	Mode       *int      `yaml:"mode"`
	Append     bool      `yaml:"append"`
	Contents   resource2 `yaml:"contents"`
}

func (f file2) translate() types.File {
	node := node2{Path: f.Path, Overwrite: f.Overwrite, User: f.User, Group: f.Group}.node()
	file := types.File{Node: node, FileEmbedded1: types.FileEmbedded1{Mode: f.Mode}}
	if f.Append {
		file.Append = []types.Resource{f.Contents.translate()}
		return file
	}
	file.Contents = f.Contents.translate()
	if file.Overwrite == nil {
		yes := true // as the specification then said
		file.Overwrite = &yes
	}
	return file
}

// unit2 is a unit of systemd or networkd.
type unit2 struct {
	Name     string `yaml:"name"`
	Contents string `yaml:"contents"`
	Enable   bool   `yaml:"enable"`
	Enabled  *bool  `yaml:"enabled"`
	Mask     *bool  `yaml:"mask"`
	Dropins  []struct {
		Name     string `yaml:"name"`
		Contents string `yaml:"contents"`
	} `yaml:"dropins"`
}
