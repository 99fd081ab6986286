package initramfs

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"

	"github.com/slipway-os/slipway/pkg/manifest"
)

// words splits a kernel command line as the kernel does (Linux, lib/cmdline.c,
// next_arg): quotes keep spaces together, the last of a name wins, and what
// follows "--" is for init.
func words(line string) map[string]string {
	out := map[string]string{}
	for line = strings.TrimLeft(line, space); line != ""; line = strings.TrimLeft(line, space) {
		end, quoted := 0, false
		for ; end < len(line) && (quoted || !strings.ContainsRune(space, rune(line[end]))); end++ {
			if line[end] == '"' {
				quoted = !quoted
			}
		}
		word := strings.ReplaceAll(line[:end], `"`, "")
		if line = line[end:]; word == "--" {
			break
		}
		if key, value, _ := strings.Cut(word, "="); key != "" {
			out[key] = value
		}
	}
	return out
}

const space = " \t\r\n\v\f"

const noRoot = "the initrd does not say which root to verify (/" + manifest.InitrdPath + " is missing or damaged); boot the image as it was built"

// describe reads what the initrd knows of its root, and returns the root's
// hash. Nothing is booted without one.
func describe(data []byte, to *manifest.Initrd) (hash [32]byte, err error) {
	err = json.Unmarshal(data, to)
	root, hashErr := hex.DecodeString(to.RootHash)
	_, saltErr := hex.DecodeString(to.Salt)
	if err != nil || hashErr != nil || saltErr != nil || len(root) != len(hash) || to.DataBlocks <= 0 {
		return hash, errors.New(noRoot)
	}
	return [32]byte(root), nil
}

// isMachineID says whether a file's content is a machine id: one that was
// cut off by a power cut is none.
func isMachineID(text string) bool {
	text = strings.TrimSpace(text)
	id, err := hex.DecodeString(text)
	return err == nil && len(id) == 16 && strings.ToLower(text) == text
}
