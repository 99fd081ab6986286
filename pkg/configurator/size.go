package configurator

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/role"
)

// What kubeadm's own checks ask of a control plane
// (https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/, "Before you begin").
const (
	planeProcessors = 2
	planeMemory     = 1700 << 20 // bytes
)

// warnOfSize says what a machine lacks for its role: it starts, but pods of the
// control plane may find no room, or be ended for want of memory.
func (c *Configurator) warnOfSize() {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return
	}
	for _, lack := range lacks(c.role.Role, runtime.NumCPU(), uint64(info.Totalram)*uint64(info.Unit)) {
		c.status.Warn(lack)
	}
}

// lacks tells what a machine with processors and memory, in bytes, lacks.
func lacks(name string, processors int, memory uint64) []string {
	if name != role.ControlPlane {
		return nil
	}
	var lacks []string
	if processors < planeProcessors {
		lacks = append(lacks, fmt.Sprintf("this machine has %d processor; a control plane wants %d, or not all of its pods find room", processors, planeProcessors))
	}
	if memory < planeMemory {
		lacks = append(lacks, fmt.Sprintf("this machine has %d MiB of memory; a control plane wants %d", memory>>20, planeMemory>>20))
	}
	return lacks
}
