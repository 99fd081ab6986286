// Package manifest holds the two small documents that an image carries about
// itself: one in the initrd, which the root is verified with, and one in the
// root, which the configurator and `builder` compare a role with.
package manifest

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
