package image

import "github.com/slipway-os/slipway/pkg/manifest"

// ReportFormat is the version of the report's JSON form. Fields may be added
// to a version; none is taken away or changes its meaning.
const ReportFormat = 1

// Report is what a disk is. Its JSON form is for programs: docs/inspect.md
// shows it. Sizes and offsets are in bytes; digests are sha256, in lower-case
// hexadecimal.
type Report struct {
	Format int    `json:"format" doc:"Version of this document: 1. Fields may be added to it; none is taken away or changes its meaning."`
	File   string `json:"file" doc:"The disk, as it was named."`
	Size   int64  `json:"size" doc:"Size of the disk in bytes, as are all sizes here."`

	Profile           string   `json:"profile" doc:"The profile that the image was built from."`
	Architecture      string   `json:"architecture" doc:"As Go calls it: amd64, arm64, ppc64le, s390x."`
	Roles             []string `json:"roles" doc:"Roles that a node of this image can take."`
	KubernetesVersion string   `json:"kubernetesVersion" doc:"With the v. Empty: without Kubernetes."`
	Epoch             int64    `json:"epoch" doc:"Seconds since 1970: the date of the newest package index that the image was built from."`

	Partitions []Partition          `json:"partitions" doc:"In the order of the partition table."`
	Boot       Boot                 `json:"boot" doc:"What the firmware starts."`
	Root       Root                 `json:"root" doc:"The root file system that is started."`
	Sizes      []Part               `json:"sizes" doc:"What each part takes on the disk."`
	Packages   []manifest.Package   `json:"packages" doc:"Debian packages, sorted by name."`
	Components []manifest.Component `json:"components" doc:"Programs that were compiled, sorted by name."`
	Images     []ContainerImage     `json:"images" doc:"Container images that are baked in."`
	Layers     []Layer              `json:"layers" doc:"Layers of these images, each once."`

	Verified bool     `json:"verified" doc:"Whether every block of the root was read and compared with the hash tree (--verify)."`
	Damage   []Damage `json:"damage" doc:"What was found to be wrong; empty if nothing was."`
}

// Partition is a partition of the disk.
type Partition struct {
	Number  int    `json:"number" doc:"From 1 on."`
	Name    string `json:"name"`
	Type    string `json:"type" doc:"Type GUID."`
	UUID    string `json:"uuid" doc:"PARTUUID. Those of a root and its verity partition are halves of the root hash."`
	Offset  int64  `json:"offset"`
	Size    int64  `json:"size"`
	Content string `json:"content" doc:"What it holds: FAT32, GRUB, zIPL, squashfs, verity, ext4, …; nothing; or empty if that is not known."`
}

// Boot is what the firmware starts.
type Boot struct {
	Method      string `json:"method" doc:"UEFI, Open Firmware (GRUB), or IBM Z (zIPL). Empty: nothing that could be read."`
	Loader      string `json:"loader" doc:"SHA-256 of the program before the kernel, without what depends on the image. Empty: the firmware needs none."`
	Kernel      Kernel `json:"kernel"`
	Initrd      Initrd `json:"initrd"`
	CommandLine string `json:"commandLine" doc:"The kernel's."`
}

// Kernel is a kernel in the boot area.
type Kernel struct {
	Release string `json:"release" doc:"As uname -r prints it, from the kernel itself. Empty: it does not say."`
	Package string `json:"package" doc:"The Debian package that the image took it from."`
	Size    int64  `json:"size"`
	SHA256  string `json:"sha256" doc:"Of the kernel. On s390x, where it is changed as it is written to a disk, of what does not change."`
}

// Initrd is an initrd in the boot area.
type Initrd struct {
	Size         int64  `json:"size" doc:"Compressed."`
	Uncompressed int64  `json:"uncompressed"`
	SHA256       string `json:"sha256"`
}

// Root is the root file system.
type Root struct {
	Partition       string `json:"partition" doc:"Its partition's name."`
	VerityPartition string `json:"verityPartition" doc:"That of its hash tree."`
	Hash            string `json:"hash" doc:"The root hash: of the initrd, else of the partitions' UUIDs."`
	Size            int64  `json:"size" doc:"Of the squashfs."`
	TreeSize        int64  `json:"treeSize" doc:"Of the hash tree with its superblock."`
	Files           int    `json:"files" doc:"Paths in it, directories included."`
	TreeBelongs     bool   `json:"treeBelongs" doc:"Whether the superblock is sound and the top of the hash tree has the root hash."`
}

// Part is a part of the disk.
type Part struct {
	Name         string `json:"name" doc:"kernel, initrd, components, kernel modules, firmware, operating system, container layers, directories, hash tree."`
	Stored       int64  `json:"stored" doc:"Bytes on the disk: compressed, in the root and the initrd. What several parts share counts for the first of them in this list."`
	Uncompressed int64  `json:"uncompressed" doc:"0 if that makes no sense for the part."`
}

// ContainerImage is a container image that is baked in.
type ContainerImage struct {
	Reference string   `json:"reference"`
	Digest    string   `json:"digest" doc:"Of its manifest, with sha256: before it."`
	Config    string   `json:"config" doc:"Digest of its config, which is its image ID."`
	Layers    []string `json:"layers" doc:"Digests (diff IDs) of its layers, the lowest first."`
}

// Layer is a layer of container images.
type Layer struct {
	Digest string `json:"digest" doc:"Its diff ID."`
	Name   string `json:"name" doc:"Of its definition; packages name it as layer/NAME."`
	Size   int64  `json:"size" doc:"As an archive, uncompressed."`
	Stored int64  `json:"stored" doc:"What it adds to the root, compressed: not what it shares with the rest of the root and the layers before."`
}

// Damage is something that is not as it was built.
type Damage struct {
	Partition string `json:"partition" doc:"Name of the partition it lies in; empty: outside of all."`
	Offset    int64  `json:"offset" doc:"Where the first damaged block starts in the partition; -1 if that is not known."`
	Blocks    int64  `json:"blocks" doc:"Number of damaged blocks of 4096 bytes; 0 if that is not known."`
	Problem   string `json:"problem"`
}
