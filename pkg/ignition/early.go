package ignition

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Where a config configures the network, and where that has to be for networkd
// as long as the config is not applied.
const (
	networkDir = "/etc/systemd/network"
	earlyDir   = "/run/systemd/network"
)

// earlyNetwork lays what a config on the machine says about the network where
// networkd finds it before the config is applied: what it merges may lie
// behind that network. It returns what takes it away again.
func earlyNetwork(raw []byte, dir string) (undo func(), err error) {
	files, err := networkFiles(raw)
	if err != nil || len(files) == 0 {
		return func() {}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return func() {}, err
	}
	undo = func() {
		for name := range files {
			os.Remove(filepath.Join(dir, name))
		}
	}
	for name, content := range files {
		// networkd reads them as a user of its own.
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			undo()
			return func() {}, err
		}
	}
	return undo, nil
}

// networkFiles returns the files right below networkDir that a config brings
// along itself (Ignition, "Configuration Specification", storage.files).
func networkFiles(raw []byte) (map[string][]byte, error) {
	var config struct {
		Storage struct {
			Files []struct {
				Path     string
				Contents struct {
					Source      *string
					Compression *string
				}
			}
		}
	}
	if json.Unmarshal(raw, &config) != nil {
		return nil, nil // Ignition complains of it better
	}
	files := map[string][]byte{}
	for _, f := range config.Storage.Files {
		dir, name := path.Split(path.Clean(f.Path))
		source, compression := f.Contents.Source, f.Contents.Compression
		if dir != networkDir+"/" || source == nil || compression != nil && *compression != "" {
			continue
		}
		content, inline, err := Inline(*source)
		if err != nil {
			return nil, fmt.Errorf("reading %s of the config: %w", f.Path, err)
		}
		if inline {
			files[name] = content
		}
	}
	return files, nil
}

// Inline returns what a data URL (RFC 2397) holds; false for any other URL.
func Inline(source string) (content []byte, inline bool, err error) {
	rest, inline := strings.CutPrefix(source, "data:")
	head, body, found := strings.Cut(rest, ",")
	if !inline || !found {
		return nil, false, nil
	}
	text, err := url.PathUnescape(body)
	content = []byte(text)
	if err == nil && strings.HasSuffix(head, ";base64") {
		content, err = base64.StdEncoding.DecodeString(text)
	}
	return content, true, err
}
