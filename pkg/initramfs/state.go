package initramfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/slipway-os/slipway/pkg/durable"
	"github.com/slipway-os/slipway/pkg/ignition"
	"github.com/slipway-os/slipway/pkg/state"
)

// mountState mounts the state partition and binds the writable paths. It
// returns where to take the machine's config from if it is yet to be applied.
func (b *boot) mountState() (*ignition.Source, error) {
	if b.disk.State == "" {
		return nil, fmt.Errorf("disk %s has no state partition; write the image to it again", b.disk.Device)
	}
	if grown, err := b.disk.Grow(); err != nil {
		return nil, err
	} else if grown {
		b.say("state partition %s grown to the end of the disk", b.disk.State)
	}
	b.advanceClock()
	if err := b.mountWhole(); err != nil {
		return nil, err
	}
	b.state = state.State{Dir: stateDir}
	var source *ignition.Source
	if done, err := b.state.Done(); err != nil {
		return nil, err
	} else if !done {
		found, err := b.waitForConfig()
		if err != nil {
			return nil, err
		}
		source = &found
		if wiped, err := b.state.Start(); err != nil {
			return nil, err
		} else if wiped {
			b.say("the first boot was interrupted; it starts over")
		}
	}
	if err := b.state.Bind(sysroot); err != nil {
		return nil, err
	}
	return source, b.machineID()
}

// mountWhole mounts the state partition, mended first if it is damaged: nobody
// could log in to do that.
func (b *boot) mountWhole() error {
	damaged, err := b.disk.Damaged()
	if err != nil {
		return err
	}
	if !damaged {
		err := b.disk.Mount(stateDir)
		if !errors.Is(err, state.ErrDamaged) {
			return err
		}
		b.say("%v", err)
	}
	b.say("THE FILE SYSTEM OF THE STATE PARTITION %s IS DAMAGED: checking it", b.disk.State)
	lossy, err := b.disk.Check(sysroot)
	if err != nil {
		return err
	}
	b.say("the file system of %s is mended", b.disk.State)
	if lossy {
		b.say("FILES OF THIS MACHINE MAY BE LOST: if it does not work as it did, give it a fresh disk")
	}
	return b.disk.Mount(stateDir)
}

// machineID writes a random machine id once (machine-id(5)).
func (b *boot) machineID() error {
	file := filepath.Join(sysroot, "etc/machine-id")
	if data, err := os.ReadFile(file); err == nil && isMachineID(string(data)) {
		return nil
	}
	id, err := newMachineID()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(file, []byte(id+"\n"), 0o444); err != nil {
		return fmt.Errorf("making the machine id: %w", err)
	}
	return nil
}
