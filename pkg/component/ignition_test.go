package component

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The packages of ours that stand in for some of Ignition's have tests beside
// them. They are run here, in a module of that name, as they can be compiled
// only inside it; those that need Ignition's own sources are left out.
func TestIgnitionOverlay(t *testing.T) {
	c, err := Load("../../profiles/components/ignition")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"accounts", "as_user", "blkid", "systemd", "userdata"} {
		at := filepath.Join("internal", name)
		if err := os.CopyFS(filepath.Join(dir, at), os.DirFS(filepath.Join(c.Dir, c.Replace[0].Overlay, at))); err != nil {
			t.Fatal(err)
		}
	}
	const sys = "golang.org/x/sys"
	version, ok := c.required(sys)
	if !ok {
		t.Fatalf("go.mod does not require %s", sys)
	}
	sums, err := os.ReadFile(filepath.Join(c.Dir, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	mod := "module " + c.Module + "\n\ngo 1.26\n\nrequire " + sys + " " + version + "\n"
	for name, data := range map[string]string{"go.mod": mod, "go.sum": string(sums)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "test", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off", "CGO_ENABLED=0", "PWD="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
