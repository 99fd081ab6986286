package manifest

// InventoryPath is where the inventory lies in the root.
const InventoryPath = "usr/share/slipway/inventory.json"

// Inventory is what an image is made of, for people and scanners. The
// container images themselves are described by the OCI layout in ImagesDir.
type Inventory struct {
	Format     int         `json:"format"` // InventoryFormat
	Kernel     Kernel      `json:"kernel"`
	Loader     string      `json:"loader,omitempty"` // as boot.Contents has it
	Packages   []Package   `json:"packages"`         // sorted by name
	Components []Component `json:"components"`       // sorted by name
}

// InventoryFormat is the version of the inventory's format.
const InventoryFormat = 1

// Kernel is the kernel that the boot partition must hold.
type Kernel struct {
	Package     string `json:"package"`     // that it is from
	SHA256      string `json:"sha256"`      // as kernel.Digest takes it
	CommandLine string `json:"commandLine"` // as it was built in
}

// Package is a Debian package that was unpacked.
type Package struct {
	Name          string   `json:"name"`
	Version       string   `json:"version"`
	Architecture  string   `json:"architecture" doc:"As Debian calls it; all for what is for any."`
	Source        string   `json:"source" doc:"Name of the source package."`
	SourceVersion string   `json:"sourceVersion"`
	Licences      []string `json:"licences" doc:"As its copyright file calls them, sorted; where there is a choice, with or. Null if the file is not machine-readable."`
	In            []string `json:"in" doc:"Where it is: root, and layer/ with the name of a layer of container images."`
}

// Component is a component that was compiled.
type Component struct {
	Name    string   `json:"name"`
	Version string   `json:"version" doc:"With the v."`
	Module  string   `json:"module" doc:"Path of the Go module that the version is of."`
	Paths   []string `json:"paths" doc:"Of its programs in the root, sorted. None: it is in container images only."`
}
