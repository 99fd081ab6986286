package ignition

import (
	"slices"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
)

// Each thing that the system cannot do is refused by name, and none of the
// config's values is told.
func TestCheck(t *testing.T) {
	const readOnly = ": the system is read-only but for /etc, /var, /home, /root, /srv, /opt, /usr/local"
	const add = "; add its package to the profile's os.packages"
	for _, c := range []struct {
		name   string
		config string
		lacks  []string // programs that the image lacks
		want   []string // what is refused; nothing if it is right
	}{
		{"nothing", `{"ignition":{"version":"3.4.0"}}`, nil, nil},
		{"writable places", `{"storage":{"files":[{"path":"/etc/x"},{"path":"/usr/local/bin/x"}],"directories":[{"path":"/var/lib/x"}],"links":[{"path":"/root/x","target":"/usr/bin/y"}]}}`, nil, nil},
		{"a file outside", `{"storage":{"files":[{"path":"/usr/bin/x","contents":{"source":"data:,hunter2"}}]}}`, nil, []string{`storage.files: "/usr/bin/x" cannot be written` + readOnly}},
		{"a file outside by a detour", `{"storage":{"files":[{"path":"/etc/../usr/bin/x"}]}}`, nil, []string{`storage.files: "/etc/../usr/bin/x" cannot be written` + readOnly}},
		{"a directory and a link outside", `{"storage":{"directories":[{"path":"/data"}],"links":[{"path":"/boot/x"}]}}`, nil, []string{`storage.directories: "/data" cannot be written` + readOnly, `storage.links: "/boot/x" cannot be written` + readOnly}},
		{"a place that no boot keeps", `{"storage":{"files":[{"path":"/var/run/x"}]}}`, nil, []string{`storage.files: "/var/run/x" cannot be written` + readOnly}},
		{"a path with a newline", `{"storage":{"files":[{"path":"/x\ny"}]}}`, nil, []string{`storage.files: "/x\ny" cannot be written` + readOnly}},
		{"a home directory outside", `{"passwd":{"users":[{"name":"a","homeDir":"/data/a","passwordHash":"hunter2"}]}}`, nil, []string{`passwd.users "a": home directory "/data/a" cannot be written` + readOnly}},
		{"a home directory inside", `{"passwd":{"users":[{"name":"a","homeDir":"/srv/a"}]}}`, nil, nil},
		{"users without the program", `{"passwd":{"users":[{"name":"a"}]}}`, []string{"/usr/sbin/useradd"}, []string{"passwd.users: this image has no useradd" + add}},
		{"groups without the program", `{"passwd":{"groups":[{"name":"a"}]}}`, []string{"/usr/sbin/groupadd"}, []string{"passwd.groups: this image has no groupadd" + add}},
		{"kernel arguments", `{"kernelArguments":{"shouldExist":["hunter2"]}}`, nil, []string{"kernelArguments: the command line is part of the image; set kernel.commandLine in its profile"}},
		{"kernel arguments to remove", `{"kernelArguments":{"shouldNotExist":["hunter2"]}}`, nil, []string{"kernelArguments: the command line is part of the image; set kernel.commandLine in its profile"}},
		{"no kernel arguments", `{"kernelArguments":{"shouldExist":[]}}`, nil, nil},
		{"RAID without the program", `{"storage":{"raid":[{"name":"md0"}]}}`, []string{"/usr/sbin/mdadm"}, []string{"storage.raid: this image has no mdadm" + add}},
		{"partitions without the program", `{"storage":{"disks":[{"device":"/dev/vdb"}]}}`, []string{"/usr/sbin/sgdisk"}, []string{"storage.disks: this image has no sgdisk" + add}},
		{"LUKS without the programs", `{"storage":{"luks":[{"name":"l","clevis":{"tpm2":true}}]}}`, []string{"/usr/sbin/cryptsetup", "/usr/bin/clevis"}, []string{`storage.luks "l": this image has no cryptsetup` + add, `storage.luks "l", clevis: this image has no clevis` + add}},
		{"LUKS without clevis, which it does not want", `{"storage":{"luks":[{"name":"l","clevis":{}},{"name":"m","clevis":null}]}}`, []string{"/usr/bin/clevis"}, nil},
		{"file systems without the programs", `{"storage":{"filesystems":[{"device":"/dev/a","format":"xfs"},{"device":"/dev/b","format":"btrfs"},{"device":"/dev/c","format":"swap"},{"device":"/dev/d","format":"vfat"},{"device":"/dev/e","format":"ext4"}]}}`,
			[]string{"/usr/sbin/mkfs.xfs", "/usr/sbin/mkfs.btrfs", "/usr/sbin/mkswap", "/usr/sbin/mkfs.fat", "/usr/sbin/mkfs.ext4"},
			[]string{"storage.filesystems, format xfs: this image has no mkfs.xfs" + add, "storage.filesystems, format btrfs: this image has no mkfs.btrfs" + add, "storage.filesystems, format swap: this image has no mkswap" + add, "storage.filesystems, format vfat: this image has no mkfs.fat" + add, "storage.filesystems, format ext4: this image has no mkfs.ext4" + add}},
		{"file systems that are there already", `{"storage":{"filesystems":[{"device":"/dev/a","format":"none"},{"device":"/dev/b","path":"/var/lib/x"}]}}`, nil, nil},
		{"a format that nobody knows", `{"storage":{"filesystems":[{"device":"/dev/a","format":"../x"}]}}`, nil, []string{`storage.filesystems: unknown format "../x"; ext4, xfs, btrfs, vfat, swap or none`}},
		{"a mount point outside", `{"storage":{"filesystems":[{"device":"/dev/a","path":"/data","format":"ext4"}]}}`, nil, []string{`storage.filesystems: "/data" cannot be mounted: mount points must lie below /etc, /var, /home, /root, /srv, /opt, /usr/local`}},
		{"several at once", `{"kernelArguments":{"shouldExist":["a"]},"storage":{"files":[{"path":"/a"},{"path":"/b"}]}}`, nil, []string{`storage.files: "/a" cannot be written` + readOnly, `storage.files: "/b" cannot be written` + readOnly, "kernelArguments: the command line is part of the image; set kernel.commandLine in its profile"}},
		{"not JSON", `{"passwd":"hunter2`, nil, []string{"reading the Ignition config: not valid JSON at byte 18"}},
		{"nothing at all", ``, nil, []string{"reading the Ignition config: not valid JSON at byte 0"}},
		{"a wrong type", `{"storage":{"files":"hunter2"}}`, nil, []string{"reading the Ignition config: storage.files has the wrong type at byte 29"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Check([]byte(c.config), func(p string) bool { return !slices.Contains(c.lacks, p) })
			if len(c.want) == 0 {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("accepted")
			}
			if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", err, strings.Join(c.want, "\n"))
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("it tells a value: %v", err)
			}
			if diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("exit status %d", diag.ExitCode(err))
			}
		})
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"storage":{"files":[{"path":"/usr/x"}],"luks":[{"clevis":{"a":1}}]},"kernelArguments":{"shouldExist":["a"]}}`))
	f.Add([]byte(`{"passwd":{"users":[{"name":"hunter2hunter2","passwordHash":"x"}]}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := Check(data, func(string) bool { return false }); err != nil && diag.ExitCode(err) != diag.ExitInput {
			t.Errorf("exit status %d: %v", diag.ExitCode(err), err)
		}
	})
}

func TestDisks(t *testing.T) {
	for _, c := range []struct {
		name, config string
		want         bool
	}{
		{"files alone", `{"ignition":{"version":"3.5.0"},"storage":{"files":[{"path":"/etc/a"}],"directories":[{"path":"/srv/b"}]}}`, false},
		{"nothing", `{"ignition":{"version":"3.5.0"}}`, false},
		{"a partition", `{"storage":{"disks":[{"device":"/dev/disk/by-id/virtio-data"}]}}`, true},
		{"an array", `{"storage":{"raid":[{"name":"data"}]}}`, true},
		{"an encrypted disk", `{"storage":{"luks":[{"name":"data"}]}}`, true},
		{"a file system", `{"storage":{"filesystems":[{"device":"/dev/vdb","format":"ext4"}]}}`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := disks([]byte(c.config)); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
