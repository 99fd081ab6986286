package build

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/firmware"
	"github.com/slipway-os/slipway/pkg/lock"
	"github.com/slipway-os/slipway/pkg/profile"
	"github.com/slipway-os/slipway/pkg/progress"
	"github.com/slipway-os/slipway/pkg/tree"
)

// What a build says of firmware that is missing, and of waivers that nothing
// needs.
func TestMissingFirmware(t *testing.T) {
	many := make([]firmware.Request, 25)
	for i := range many {
		many[i] = firmware.Request{Module: fmt.Sprintf("m%02d", i), Files: []string{fmt.Sprintf("%02d.fw", i)}}
	}
	nic := firmware.Request{Module: "nic", Files: []string{"nic/1.fw", "nic/2.fw", "nic/3.fw", "nic/4.fw", "nic/5.fw", "here.fw"}}
	for _, c := range []struct {
		name     string
		requests []firmware.Request
		os       string // lines of the profile
		waive    string
		lines    int
		want     string // the last line of the error; or, without one, of the table
	}{
		{"all there", []firmware.Request{{Module: "m", Files: []string{"here.fw"}}}, "", "", 0, "1 files that 1 modules ask for"},
		{"missing", []firmware.Request{nic}, "", "", 1,
			"p.yaml:2:12: module nic asks for firmware that the image lacks: nic/1.fw, nic/2.fw, nic/3.fw and 2 more (add the firmware-* package that has it, with non-free-firmware among os.components, prune the module, or name the file in kernel.firmware.waive)"},
		{"missing, with all components", []firmware.Request{nic}, "os: {components: [main, non-free-firmware]}\n", "'nic/[1-4].fw'", 1,
			"p.yaml:2:12: module nic asks for firmware that the image lacks: nic/5.fw (add the firmware-* package that has it, prune the module, or name the file in kernel.firmware.waive)"},
		{"of many modules", many, "", "", maxLacks + 1, "p.yaml:2:12: 5 more modules ask for firmware that the image lacks"},
		{"waived", []firmware.Request{nic}, "", "nic", 0, "1 files that 1 modules ask for"},
		{"waived in vain", []firmware.Request{nic}, "", "nic, here.fw", 0, "1 files that 1 modules ask for; waived, but no module lacks it: p.yaml:3:27: here.fw"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			text := "kernel:\n  package: linux\n  firmware: {waive: [" + c.waive + "]}\n" + c.os
			if err := os.WriteFile("p.yaml", []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			p, err := profile.Dir{Root: "."}.Read("./p.yaml")
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			board := progress.New(&out, progress.Options{})
			w := &wantedFirmware{run: &run{Target: Target{Profile: p}, board: board}, release: "6.12", requests: c.requests}
			b := tree.NewBuilder(1)
			for _, name := range []string{"here.fw", "unneeded.fw"} {
				if err := b.Put(filepath.Join(firmware.Dir, name), &tree.Node{Type: tree.File, Content: tree.String(name)}); err != nil {
					t.Fatal(err)
				}
			}
			w.trim(b)
			err = w.check(b.Tree())
			board.Close()
			got := strings.TrimSpace(out.String())
			if err != nil {
				got = err.Error()
				if diag.ExitCode(err) != diag.ExitInput {
					t.Errorf("exit status %d", diag.ExitCode(err))
				}
			}
			lines := strings.Split(got, "\n")
			if (err != nil) != (c.lines > 0) || err != nil && len(lines) != c.lines || !strings.HasSuffix(lines[len(lines)-1], c.want) {
				t.Errorf("got %s", got)
			}
		})
	}
}

// The initrd carries the firmware of its own modules, where the kernel finds
// it.
func TestFirmwareOfTheInitrd(t *testing.T) {
	r := &run{board: progress.New(io.Discard, progress.Options{}), lock: &lock.Lock{Epoch: 1}}
	w := &wantedFirmware{run: r, release: "6.12", initrd: []firmware.Request{{Module: "hba", Files: []string{"hba.fw", "missing.fw"}}}}
	root := tree.NewBuilder(1)
	for p, n := range map[string]*tree.Node{
		"usr/lib/firmware/hba.fw":   {Type: tree.Symlink, Target: "hba-2.fw"},
		"usr/lib/firmware/hba-2.fw": {Type: tree.File, Content: tree.String("2")},
		"usr/lib/firmware/other.fw": {Type: tree.File, Content: tree.String("other")},
	} {
		if err := root.Put(p, n); err != nil {
			t.Fatal(err)
		}
	}
	got, err := w.addTo(tree.NewBuilder(1).Tree(), root.Tree())
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := got.Resolve("lib/firmware/hba.fw"); !ok || at != "usr/lib/firmware/hba-2.fw" {
		t.Errorf("the module's firmware is at %q", at)
	}
	if got.Lookup("usr/lib/firmware/other.fw") != nil {
		t.Error("it has what none of its modules asks for")
	}
}
