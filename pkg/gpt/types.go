package gpt

// Type GUIDs of partitions that only some architectures have.
const (
	// TypePReP holds the loader of Open Firmware on POWER.
	TypePReP = "9e1a2d38-c612-4316-aa26-8b49521e5a8b"
	// TypeXBOOTLDR is a file system with kernels that a loader starts
	// (Discoverable Partitions Specification, "Extended Boot Loader Partition").
	TypeXBOOTLDR = "bc13c2ff-59e6-4262-a352-b275fd6f7172"
	// TypeReserved holds no file system and is nobody's to touch (Linux
	// reserved).
	TypeReserved = "8da63339-0007-60c0-c436-083ac8230908"
)
