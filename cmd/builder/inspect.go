package main

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/image"
	"github.com/slipway-os/slipway/pkg/progress"
	"github.com/slipway-os/slipway/pkg/tree"
)

type inspectFlags struct {
	output            string
	verify, recursive bool
}

func newInspectCommand() *cobra.Command {
	var f inspectFlags
	c := &cobra.Command{
		Use:   "inspect IMAGE [ls [PATH] | cat PATH]",
		Short: "Say what an image is and holds",
		Long: `inspect reads a raw disk of any architecture, without root and without writing
to it: its partitions, what the firmware starts, the root hash and whether the
hash tree belongs to it, packages with their licences, components, container
images, and what each part takes. All of it is read from the disk itself.

ls and cat look at the root file system that the disk starts. Symbolic links
are followed as on the machine: they never lead out of the image.

--verify reads every block of the root and compares it with the hash tree. What
is damaged is named with its partition, and the exit status is 2. Kernel, initrd,
command line and partition tables are always checked. Two things have nothing to
compare them with: what no file of the boot partition takes, and the state
partition, which the node fills.`,
		Example: `  builder inspect out/cp-amd64/disk.raw
  builder inspect out/cp-amd64/disk.raw --verify
  builder inspect out/cp-amd64/disk.raw --output json | jq '.packages[] | {name, version, licences}'
  builder inspect out/cp-amd64/disk.raw ls usr/lib/systemd
  builder inspect out/cp-amd64/disk.raw cat etc/os-release`,
		Args:              checkInspectArgs,
		ValidArgsFunction: completeInspect,
		RunE: func(c *cobra.Command, args []string) error {
			if f.output != "text" && f.output != "json" {
				return diag.Inputf("--output %q: text or json", f.output)
			}
			verb := ""
			if len(args) > 1 {
				verb = args[1]
			}
			switch {
			case f.verify && verb != "":
				return diag.Inputf("--verify and %s: give one of them", verb)
			case f.recursive && verb != "ls":
				return diag.Inputf("--recursive is for ls")
			case verb == "cat" && f.output != "text":
				return diag.Inputf("--output %s and cat: it prints the file as it is", f.output)
			}
			disk, err := image.Open(args[0])
			if err != nil {
				return err
			}
			defer disk.Close()
			switch verb {
			case "ls":
				return listFiles(c.OutOrStdout(), args[0], disk, strings.Join(args[2:], ""), f)
			case "cat":
				return printFile(c.OutOrStdout(), args[0], disk, args[2])
			}
			return inspectImage(c, disk, f)
		},
	}
	c.Flags().StringVar(&f.output, "output", "text", "text or json")
	c.Flags().BoolVar(&f.verify, "verify", false, "read every block of the root against the hash tree")
	c.Flags().BoolVarP(&f.recursive, "recursive", "r", false, "ls: list what is below, too")
	return c
}

func checkInspectArgs(_ *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return fmt.Errorf("name an image, for example out/cp-amd64/disk.raw")
	case isVerb(args[0]) && !exists(args[0]):
		return fmt.Errorf("the image comes first: builder inspect IMAGE %s", args[0])
	case len(args) == 1:
		return nil
	case args[1] == "ls" && len(args) > 3:
		return fmt.Errorf("ls takes one path, not %d", len(args)-2)
	case args[1] == "cat" && len(args) != 3:
		return fmt.Errorf("cat takes one path, not %d", len(args)-2)
	case !isVerb(args[1]):
		return fmt.Errorf("%q is neither ls nor cat", args[1])
	}
	return nil
}

func isVerb(arg string) bool { return arg == "ls" || arg == "cat" }

func completeInspect(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return nil, cobra.ShellCompDirectiveDefault
	case 1:
		return []string{"ls", "cat"}, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func inspectImage(c *cobra.Command, disk *image.Disk, f inspectFlags) error {
	o := image.InspectOptions{Verify: f.verify}
	done := func() {}
	if f.verify {
		board := newBoard(c.ErrOrStderr(), "")
		stage := board.Start("verify", 0, progress.Bytes)
		o.Progress = func(bytes, total int64) {
			stage.SetTotal(total)
			stage.Add(bytes)
		}
		done = func() { // before anything else is printed
			stage.Done(progress.Result{})
			board.Close()
		}
	}
	report, err := disk.Inspect(c.Context(), o)
	done()
	if err != nil {
		return err
	}
	if f.output == "json" {
		err = writeJSON(c.OutOrStdout(), report)
	} else {
		err = printReport(c.OutOrStdout(), report)
	}
	return errors.Join(diag.IO(err), report.Err())
}

// lookUp returns the path and node that a path of the root leads to.
func lookUp(name string, root *tree.Tree, file string) (string, *tree.Node, error) {
	at, ok := root.Resolve(file)
	if ok {
		return at, root.Lookup(at), nil
	}
	if at == "" {
		return "", nil, diag.Inputf("image %q: the symbolic links at %q go in a circle", name, file)
	}
	// at is what is missing; the longest part of it that exists has what may
	// have been meant.
	dir, rest := ".", strings.Split(at, "/")
	for ; len(rest) > 1; rest = rest[1:] {
		next := path.Join(dir, rest[0])
		if root.Lookup(next) == nil {
			break
		}
		dir = next
	}
	return "", nil, diag.At(diag.Position{}, diag.Suggest(rest[0], root.Children(dir)), "image %q has no %q", name, "/"+at)
}

func printFile(w io.Writer, name string, disk *image.Disk, file string) error {
	root, err := disk.Root()
	if err != nil {
		return err
	}
	at, n, err := lookUp(name, root, file)
	if err != nil {
		return err
	}
	if n.Type != tree.File {
		return diag.Inputf("image %q: %q is a %s, not a file", name, path.Join("/", at), typeName(n.Type))
	}
	if n.Content == nil {
		return nil
	}
	r, err := n.Content.Open()
	if err != nil {
		return diag.Inputf("reading %q of image %q: %w", "/"+at, name, err)
	}
	defer r.Close()
	// Errors of reading are the image's fault, those of writing are not.
	content := &failing{Reader: io.NewSectionReader(r, 0, n.Size())}
	if _, err := io.Copy(w, content); err != nil && content.err != nil {
		return diag.Inputf("reading %q of image %q: %w", "/"+at, name, content.err)
	} else if err != nil {
		return diag.IO(err)
	}
	return nil
}

// failing remembers why reading failed.
type failing struct {
	io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// entry is a line of ls for programs.
type entry struct {
	Path    string `json:"path"` // relative to the root
	Type    string `json:"type"`
	Mode    string `json:"mode"` // octal
	UID     uint32 `json:"uid"`
	GID     uint32 `json:"gid"`
	Size    int64  `json:"size"`
	ModTime int64  `json:"modTime"` // seconds since 1970
	Target  string `json:"target,omitempty"`
	Major   uint32 `json:"major,omitempty"`
	Minor   uint32 `json:"minor,omitempty"`

	node *tree.Node
}

func newEntry(path string, n *tree.Node) entry {
	return entry{
		Path: path, Type: typeName(n.Type), Mode: fmt.Sprintf("%04o", n.Mode), UID: n.UID, GID: n.GID, Size: n.Size(), ModTime: n.ModTime,
		Target: n.Target, Major: n.Major, Minor: n.Minor, node: n,
	}
}

func typeName(t tree.Type) string {
	return map[tree.Type]string{
		tree.Dir: "directory", tree.File: "file", tree.Symlink: "symbolic link",
		tree.CharDevice: "character device", tree.BlockDevice: "block device", tree.Fifo: "pipe",
	}[t]
}

// listFiles lists a directory, or the one thing that is at the path.
func listFiles(w io.Writer, name string, disk *image.Disk, file string, f inspectFlags) error {
	root, err := disk.Root()
	if err != nil {
		return err
	}
	at, n, err := lookUp(name, root, file)
	entries := []entry{}
	switch link, target := lookUpLink(root, file); {
	case err == nil && n.Type == tree.Dir:
		entries, err = below(root, at, f.recursive)
	case target != nil: // the link itself, wherever it leads
		entries, err = append(entries, newEntry(link, target)), nil
	case err == nil:
		entries = append(entries, newEntry(at, n))
	}
	if err != nil {
		return err
	}
	if f.output == "json" {
		return diag.IO(writeJSON(w, entries))
	}
	return diag.IO(printEntries(w, entries, f.recursive))
}

// lookUpLink returns the symbolic link at a path, if there is one.
func lookUpLink(root *tree.Tree, file string) (string, *tree.Node) {
	dir, base := path.Split(path.Join("/", file))
	if at, ok := root.Resolve(dir); ok {
		at = path.Join(at, base)
		if n := root.Lookup(at); n != nil && n.Type == tree.Symlink {
			return at, n
		}
	}
	return "", nil
}

// below returns what is in a directory, or all below it.
func below(root *tree.Tree, dir string, all bool) ([]entry, error) {
	entries := []entry{}
	sub, err := root.Sub(dir)
	if err != nil {
		return nil, err
	}
	err = sub.Walk(func(p string, n *tree.Node) error {
		if p != "." && (all || !strings.Contains(p, "/")) {
			entries = append(entries, newEntry(path.Join(dir, p), n))
		}
		return nil
	})
	return entries, err
}
