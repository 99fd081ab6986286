// Package manifest holds the two small documents that an image carries about
// itself: one in the initrd, which the root is verified with, and one in the
// root, which the configurator and `builder` compare a role with.
package manifest

import (
	"strings"

	"github.com/google/uuid"
)

// Places of the documents.
const (
	InitrdPath = "slipway.json"                 // in the initrd
	ImagePath  = "usr/share/slipway/image.json" // in the root
	ImagesDir  = "usr/share/slipway/images"     // in the root: baked container images
)

// Initrd is what the initrd knows of the root it boots.
type Initrd struct {
	RootHash     string `json:"rootHash"`   // hex, sha256
	DataBlocks   int64  `json:"dataBlocks"` // of 4096 bytes
	Salt         string `json:"salt"`       // hex; may be empty
	Epoch        int64  `json:"epoch"`      // seconds: no clock may be earlier
	Architecture string `json:"architecture"`
	Profile      string `json:"profile"`
}

// Image is what an image says of itself.
type Image struct {
	Profile           string   `json:"profile"`
	Architecture      string   `json:"architecture"`
	Epoch             int64    `json:"epoch"`
	KernelRelease     string   `json:"kernelRelease"`
	KubernetesVersion string   `json:"kubernetesVersion"` // "v1.37.2"
	ImageRepository   string   `json:"imageRepository"`
	Images            []string `json:"images"` // full references, sorted
	Roles             []string `json:"roles"`  // roles this image can take
}

// Find returns the reference of the image of that name: "slipway.local/etcd:3.7.0-0"
// of "etcd".
func (m Image) Find(name string) (reference string, ok bool) {
	for _, ref := range m.Images {
		if strings.HasPrefix(ref[strings.LastIndexByte(ref, '/')+1:], name+":") {
			return ref, true
		}
	}
	return "", false
}

// Namespace is that of the UUIDs that are derived from what a disk holds (RFC
// 9562, version 5).
func Namespace() uuid.UUID {
	return uuid.UUID{0x7c, 0x9b, 0x8f, 0x0e, 0x5a, 0x55, 0x4b, 0x6f, 0x9d, 0x3a, 0x6a, 0x9f, 0x6a, 0x1f, 0x5d, 0x11}
}

// VerityUUID is in the superblock of every hash tree.
func VerityUUID() [16]byte { return uuid.NewSHA1(Namespace(), []byte("verity")) }
