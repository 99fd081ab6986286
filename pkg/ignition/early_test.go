package ignition

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheNetworkOfAConfigIsThereBeforeItIsApplied(t *testing.T) {
	const config = `{"ignition":{"version":"3.4.0","config":{"merge":[{"source":"http://192.0.2.1/node.ign"}]}},"storage":{"files":[
		{"path":"/etc/systemd/network/10-role-eth0.network","contents":{"source":"data:;base64,W01hdGNoXQpOYW1lPWV0aDAK"}},
		{"path":"/etc/systemd/network/20.netdev","contents":{"source":"data:,%5BNetDev%5D%0A"}},
		{"path":"/etc/systemd/network/sub/x.network","contents":{"source":"data:,no"}},
		{"path":"/etc/systemd/network/../x.network","contents":{"source":"data:,no"}},
		{"path":"/etc/systemd/network/far.network","contents":{"source":"http://192.0.2.1/far.network"}},
		{"path":"/etc/systemd/network/z.network","contents":{"compression":"gzip","source":"data:,no"}},
		{"path":"/etc/hostname","contents":{"source":"data:,no"}},
		{"path":"/etc/systemd/network/none.network"}]}}`
	dir := filepath.Join(t.TempDir(), "network")
	undo, err := earlyNetwork([]byte(config), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"10-role-eth0.network": "[Match]\nName=eth0\n", "20.netdev": "[NetDev]\n"}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(want) {
		t.Fatalf("got %v, %v", entries, err)
	}
	for name, content := range want {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(data) != content {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	undo()
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left %v", entries)
	}
	if _, err := earlyNetwork([]byte(`{"storage":{"files":[{"path":"/etc/systemd/network/a.network","contents":{"source":"data:;base64,!"}}]}}`), dir); err == nil {
		t.Error("took what is not base64")
	}
}

func FuzzNetworkFiles(f *testing.F) {
	f.Add([]byte(`{"storage":{"files":[{"path":"/etc/systemd/network/a.network","contents":{"source":"data:;base64,YQ=="}}]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		files, _ := networkFiles(raw)
		for name := range files {
			if name == "" || name == "." || name == ".." || filepath.Base(name) != name {
				t.Errorf("file %q", name)
			}
		}
	})
}
