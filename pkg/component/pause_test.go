package component

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// waitFor asks until the answer is there.
func waitFor[T any](t *testing.T, ask func() (T, bool)) T {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if answer, ok := ask(); ok {
			return answer
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing happened within a minute")
		}
	}
}

func pauseProgram(t *testing.T) string {
	t.Helper()
	r, err := newBuilder(t).Build(t.Context(), pause(t), runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	return program(t, r.Files[0])
}

// children counts the children of a process, zombies among them.
func children(t *testing.T, pid int) int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // it ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ") // state, parent, …
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(pid) {
			n++
		}
	}
	return n
}

// name returns what a process is.
func name(pid int) string {
	data, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	return strings.TrimSpace(string(data))
}

// Whether it is process 1 of a PID namespace, as in a pod, or any process: it
// reaps its children and ends by the signals that mean so.
func TestPauseReapsAndEnds(t *testing.T) {
	file := pauseProgram(t)
	for _, c := range []struct {
		name   string
		first  bool
		signal syscall.Signal
	}{
		{"process 1, told to end", true, syscall.SIGTERM},
		{"process 1, interrupted", true, syscall.SIGINT},
		{"told to end", false, syscall.SIGTERM},
		{"interrupted", false, syscall.SIGINT},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			// The shell becomes pause, and its children pause's: they end when
			// the pipe does.
			cmd := exec.Command("/bin/sh", "-c", "cat <&3 & cat <&3 & cat <&3 & exec 3<&-; exec "+file)
			cmd.ExtraFiles = []*os.File{r}
			if c.first {
				cmd.SysProcAttr = newNamespace()
			}
			err = cmd.Start()
			r.Close()
			if err != nil && c.first {
				t.Skipf("needs a PID namespace: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			pid := cmd.Process.Pid
			waitFor(t, func() (bool, bool) { return true, name(pid) == "pause" && children(t, pid) == 3 })
			w.Close()
			waitFor(t, func() (bool, bool) { return true, children(t, pid) == 0 })
			if err := cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// newNamespace asks for a PID namespace, which an ordinary user may have only
// in a user namespace.
func newNamespace() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if os.Getuid() != 0 {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return a
}
