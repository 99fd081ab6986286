package build

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/firmware"
	"github.com/slipway-os/slipway/pkg/kmod"
	"github.com/slipway-os/slipway/pkg/progress"
	"github.com/slipway-os/slipway/pkg/tree"
)

// wantedFirmware is what the modules of the root ask for.
type wantedFirmware struct {
	run      *run
	release  string
	requests []firmware.Request
	initrd   []firmware.Request // of the modules in the initrd
	files    int                // in the packages, that stay
	size     int64
}

func (r *run) wantedFirmware(root, initrd *kmod.Set) *wantedFirmware {
	return &wantedFirmware{run: r, release: root.Release(), requests: requests(root), initrd: requests(initrd)}
}

func requests(modules *kmod.Set) []firmware.Request {
	var list []firmware.Request
	for _, m := range modules.Modules() {
		if len(m.Firmware) > 0 {
			list = append(list, firmware.Request{Module: m.Name, Files: m.Firmware})
		}
	}
	return list
}

// trim drops what no module asks for from the unpacked packages.
func (w *wantedFirmware) trim(b *tree.Builder) {
	w.files, w.size = firmware.Trim(b, w.release, w.requests, w.run.Profile.Kernel.Firmware.Keep)
}

// addTo adds the firmware of the initrd's modules to the initrd: a disk behind
// an adapter that wants some is found before the root is there to look in.
func (w *wantedFirmware) addTo(initrd, root *tree.Tree) (*tree.Tree, error) {
	b := tree.NewBuilder(w.run.lock.Epoch)
	if err := b.PutTree(".", initrd); err != nil {
		return nil, err
	}
	f := firmware.NewFinder(root, w.release)
	for _, request := range w.initrd {
		for _, name := range request.Files {
			for _, p := range f.Find(name) {
				if err := b.Put(p, root.Lookup(p)); err != nil {
					return nil, err
				}
			}
		}
	}
	// The kernel looks below /lib.
	err := b.Put("lib", &tree.Node{Type: tree.Symlink, Mode: 0o777, ModTime: w.run.lock.Epoch, Target: "usr/lib"})
	return b.Tree(), err
}

// maxLacks is how many modules an error lists, maxNames how many of a module's
// files.
const (
	maxLacks = 20
	maxNames = 3
)

// check says which modules ask for firmware that the root lacks.
func (w *wantedFirmware) check(root *tree.Tree) error {
	p := w.run.Profile
	stage := w.run.board.Start("firmware", 0, progress.Items)
	missing, idle := firmware.NewFinder(root, w.release).Missing(w.requests, p.Kernel.Firmware.Waive)
	at := p.Origin("kernel.package", p.Kernel.Package)
	var problems []error
	for i, m := range missing {
		if i == maxLacks {
			problems = append(problems, diag.At(at, "", "%d more modules ask for firmware that the image lacks", len(missing)-i))
			break
		}
		names := strings.Join(m.Files[:min(maxNames, len(m.Files))], ", ")
		if more := len(m.Files) - maxNames; more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		problems = append(problems, diag.At(at, w.remedy(), "module %s asks for firmware that the image lacks: %s", m.Module, names))
	}
	if problems != nil {
		return errors.Join(problems...)
	}
	note := fmt.Sprintf("%d files that %d modules ask for", w.files, len(w.requests))
	for i, waiver := range idle {
		idle[i] = fmt.Sprintf("%s: %s", p.Origin("kernel.firmware.waive", waiver), waiver)
	}
	if idle != nil {
		note += "; waived, but no module lacks it: " + strings.Join(idle, ", ")
	}
	stage.Done(progress.Result{Bytes: w.size, Note: note})
	return nil
}

// remedy is what to do about firmware that is missing.
func (w *wantedFirmware) remedy() string {
	const component = "non-free-firmware"
	where := ""
	if !slices.Contains(w.run.Profile.OS.Components, component) {
		where = " with " + component + " among os.components,"
	}
	return "add the firmware-* package that has it," + where + " prune the module, or name the file in kernel.firmware.waive"
}
