package lock_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/lock"
)

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func sample() *lock.Lock {
	return &lock.Lock{
		Format: lock.Format, Profile: "cp-amd64", Architecture: "amd64", Epoch: 1_778_320_000,
		Suites: []lock.Suite{{Name: "trixie", Date: 1_778_300_000}, {Name: "trixie-security", Date: 1_778_320_000}},
		Packages: []lock.Package{
			{Name: "bash", Version: "5.2.37-2+b10", Architecture: "amd64", Source: "bash (5.2.37-2)", Suite: "trixie", Filename: "pool/main/b/bash.deb", Size: 12, SHA256: digest},
			{Name: "tzdata", Version: "1:2025b", Architecture: "all", Suite: "trixie-security", Filename: "pool/main/t/tzdata.deb", Size: 34, SHA256: digest},
		},
		Sets:      []lock.Set{{Name: lock.RootSet, Packages: []string{"bash", "tzdata"}}, {Name: lock.LayerSet + "base", Packages: []string{"tzdata"}}},
		Toolchain: "go1.26.8",
		Components: []lock.Component{
			{Name: "pause", Version: "v3.10.2"},
			{Name: "etcd", Version: "v3.7.0", Modules: []lock.Module{{Path: "go.etcd.io/etcd/v3", Version: "v3.7.0", Sum: "h1:x/y+z="}}},
		},
	}
}

func TestALockIsReadAsItWasWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock.json")
	if err := sample().Write(file); err != nil {
		t.Fatal(err)
	}
	got, err := lock.Read(file)
	if err != nil || !reflect.DeepEqual(got, sample()) {
		t.Errorf("got %+v, %v", got, err)
	}
	first, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	second, err := got.Encode()
	if err != nil || string(first) != string(second) {
		t.Errorf("first\n%s\nthen\n%s\n%v", first, second, err)
	}
	if l, err := lock.Read(file + "x"); l != nil || err != nil {
		t.Errorf("a lock that is not there: %v, %v", l, err)
	}
}

func TestBadLocks(t *testing.T) {
	data, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	const hint = " (remove the lock to resolve anew)"
	for _, c := range []struct{ name, old, new, want string }{
		{"not JSON", "{\n", "{{\n", `x.lock:70:2: not a lock: did not find expected ',' or '}'` + hint},
		{"cut off", `    },`, "\x00", `x.lock:10:1: not a lock: control character U+0000` + hint},
		{"another file", string(data), "[]", `x.lock:1:1: the document must be a mapping, not a list`},
		{"empty", string(data), "", `x.lock:1:1: lock of format 0; this builder reads format 1` + hint},
		{"a later format", `"format": 1`, `"format": 2, "later": 1`, `x.lock:2:13: lock of format 2; this builder reads format 1` + hint},
		{"unknown field", `"toolchain"`, `"toolchian"`, `x.lock:52:3: unknown field "toolchian" (did you mean "toolchain"?)`},
		{"wrong type", `"size": 12`, `"size": "12"`, `x.lock:24:15: packages[0].size must be a whole number, not "12"`},
		{"field twice", `"size": 12`, `"size": 12, "size": 13`, `x.lock:24:19: field "size" is given twice`},
		{"no toolchain", `"go1.26.8"`, `""`, `x.lock:52:16: toolchain is missing` + hint},
		{"no profile", `"profile": "cp-amd64",`, ``, `x.lock:1:1: profile is missing` + hint},
		{"a digest that is none", digest, strings.ToUpper(digest), `x.lock:25:17: "` + strings.ToUpper(digest) + `" is not a sha256` + hint},
		{"a path that climbs", "pool/main/b/bash.deb", "../../etc/passwd", `x.lock:23:19: "../../etc/passwd" is not a path inside a repository` + hint},
		{"a size that makes no sense", `"size": 12`, `"size": -12`, `x.lock:24:15: size -12 makes no sense` + hint},
		{"a suite that was not read", `"suite": "trixie"`, `"suite": "sid"`, `x.lock:22:16: unknown suite "sid"` + hint},
		{"a package twice", `"tzdata",`, `"bash",`, `x.lock:28:15: package "bash" is given twice` + hint},
		{"a set of unknown packages", "        \"bash\",\n", "        \"dash\",\n", `x.lock:41:9: unknown package "dash"` + hint},
		{"no time", "1778320000,\n  \"suites", "0,\n  \"suites", `x.lock:5:12: epoch 0 is not within 1970 to 2106` + hint},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(string(data), c.old, c.new, 1)
			if text == string(data) {
				t.Fatalf("%q is not in\n%s", c.old, data)
			}
			l, err := lock.Parse("x.lock", []byte(text))
			if err == nil {
				t.Fatal("accepted")
			}
			if got, _, _ := strings.Cut(err.Error(), "\n"); got != c.want || l != nil {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if code := diag.ExitCode(err); code != diag.ExitInput {
				t.Errorf("exit status %d, want %d", code, diag.ExitInput)
			}
		})
	}
	if _, err := lock.Read(t.TempDir()); diag.ExitCode(err) != diag.ExitInput || !strings.HasPrefix(err.Error(), "reading lock ") {
		t.Errorf("a directory: %v", err)
	}
}

func TestALockThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := sample().Write(filepath.Join(file, "lock.json")); diag.ExitCode(err) != diag.ExitIO {
		t.Errorf("got %v", err)
	}
}

// What is accepted can be written, and read again.
func FuzzParse(f *testing.F) {
	data, err := sample().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("format: 1\nprofile: p\narchitecture: a\nepoch: 1\ntoolchain: t\n"))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := lock.Parse("x", data)
		if err != nil {
			if diag.ExitCode(err) != diag.ExitInput {
				t.Errorf("got %v", err)
			}
			return
		}
		encoded, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := lock.Parse("x", encoded)
		if err != nil {
			t.Fatalf("%v of\n%s", err, encoded)
		}
		if twice, err := again.Encode(); err != nil || string(twice) != string(encoded) {
			t.Errorf("first\n%s\nthen\n%s\n%v", encoded, twice, err)
		}
	})
}
