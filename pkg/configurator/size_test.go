package configurator

import (
	"slices"
	"testing"

	"github.com/slipway-os/slipway/pkg/role"
)

func TestSmallMachines(t *testing.T) {
	const processor = "this machine has 1 processor; a control plane wants 2, or not all of its pods find room"
	for _, c := range []struct {
		name, role string
		processors int
		memory     uint64
		want       []string
	}{
		{"enough", role.ControlPlane, 2, 2 << 30, nil},
		{"one processor", role.ControlPlane, 1, 2 << 30, []string{processor}},
		{"little of both", role.ControlPlane, 1, 1 << 30, []string{processor, "this machine has 1024 MiB of memory; a control plane wants 1700"}},
		{"a worker", role.Worker, 1, 1 << 30, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := lacks(c.role, c.processors, c.memory); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
