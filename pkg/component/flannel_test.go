package component

import (
	"os"
	"os/exec"
	"testing"
)

// flannel's main function is ours, and has tests beside it. They are compiled
// as the component is, so that little is left to do where it was.
func TestFlannelMain(t *testing.T) {
	c, err := Load("../../profiles/components/flannel")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "test", "-trimpath", ".")
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off", "CGO_ENABLED=0", "PWD="+c.Dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
