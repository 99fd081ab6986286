// Package build joins the steps from a profile to a bootable disk: resolve,
// fetch and compile, compose, encode, assemble.
package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/slipway-os/slipway/pkg/container"
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/lock"
	"github.com/slipway-os/slipway/pkg/manifest"
	"github.com/slipway-os/slipway/pkg/profile"
	"github.com/slipway-os/slipway/pkg/progress"
)

// Target says what to build, to where.
type Target struct {
	Profile  *profile.Profile
	Out      string // directory for the artefacts
	LockFile string // "" to resolve
}

// Result is what was built.
type Result struct {
	Profile   string         `json:"profile"`
	Disk      string         `json:"disk"`      // absolute path
	Size      int64          `json:"size"`      // of the disk, in bytes
	Allocated int64          `json:"allocated"` // what the sparse file takes
	RootSize  int64          `json:"rootSize"`  // of the squashfs
	RootHash  string         `json:"rootHash"`
	Lock      string         `json:"lock"` // absolute path
	Image     manifest.Image `json:"image"`
}

// Names of what lies in the output folder.
const (
	diskName   = "disk.raw"
	lockName   = "lock.json"
	resultName = "result.json"
)

// run is one build on its way.
type run struct {
	*Session
	Target
	board *progress.Board
	arch  string
	given *lock.Lock // nil to resolve
	lock  *lock.Lock
	defs  *container.Definitions
}

// Check finds what is wrong with a target's output folder, image definitions,
// version of Kubernetes and lock, before anything is built.
func (s *Session) Check(t Target) error {
	_, err := s.start(t, nil)
	return err
}

func (s *Session) start(t Target, board *progress.Board) (*run, error) {
	out, err := filepath.Abs(t.Out)
	if err != nil {
		return nil, diag.IO(err)
	}
	t.Out = out
	if err := os.MkdirAll(t.Out, 0o755); err != nil {
		return nil, diag.IO(fmt.Errorf("making the output folder: %w; name another with --out", err))
	}
	if err := unix.Access(t.Out, unix.W_OK); err != nil {
		return nil, diag.IO(fmt.Errorf("writing to the output folder %q: %w; name another with --out", t.Out, err))
	}
	r := &run{Session: s, Target: t, board: board, arch: t.Profile.Architecture}
	if r.defs, err = container.Load(filepath.Join(s.Project.Root, "images"), t.Profile.Images); err != nil {
		return nil, err
	}
	if err := r.checkKubernetes(); err != nil {
		return nil, err
	}
	r.given, err = r.readLock()
	return r, err
}

// Build builds. Everything that it could not finish is gone afterwards, but for
// what the store took in.
func (s *Session) Build(ctx context.Context, t Target, board *progress.Board) (*Result, error) {
	r, err := s.start(t, board)
	if err != nil {
		return nil, err
	}
	in, err := r.gather(ctx)
	if err != nil {
		return nil, err
	}
	key, err := in.key(r)
	if err != nil {
		return nil, err
	}
	if done := r.finished(key); done != nil && !r.NoCache {
		r.board.Start("disk", 0, progress.Bytes).Done(progress.Result{Note: "unchanged"})
		return done, nil
	}
	result, err := r.assemble(ctx, in)
	if err != nil {
		return nil, err
	}
	return result, r.record(key, result)
}

// finished returns the result in the output folder if it is of the same
// inputs and nobody touched the disk since.
func (r *run) finished(key string) *Result {
	data, err := os.ReadFile(filepath.Join(r.Out, resultName))
	if err != nil {
		return nil
	}
	var f finishedFile
	if json.Unmarshal(data, &f) != nil || f.Key != key {
		return nil
	}
	info, err := os.Stat(filepath.Join(r.Out, diskName))
	if err != nil || info.Size() != f.Result.Size || info.ModTime().UnixNano() != f.ModTime {
		return nil
	}
	f.Result.Disk = filepath.Join(r.Out, diskName)
	f.Result.Lock = filepath.Join(r.Out, lockName)
	return &f.Result
}

type finishedFile struct {
	Key     string `json:"key"`
	ModTime int64  `json:"modTime"` // of the disk, in nanoseconds
	Result  Result `json:"result"`
}

func (r *run) record(key string, result *Result) error {
	info, err := os.Stat(result.Disk)
	if err != nil {
		return diag.IO(err)
	}
	data, err := json.MarshalIndent(finishedFile{Key: key, ModTime: info.ModTime().UnixNano(), Result: *result}, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(r.Out, resultName), append(data, '\n'))
}

// writeFile writes a whole file or none.
func writeFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return diag.IO(err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return diag.IO(fmt.Errorf("writing %q: %w", name, err))
	}
	return nil
}
