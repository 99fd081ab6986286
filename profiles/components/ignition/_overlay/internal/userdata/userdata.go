// Package userdata lets Slipway's own program translate what is no config of
// Ignition's, but may become one.
package userdata

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
)

// Translate returns what data becomes; nil if it is nothing that the program
// knows.
func Translate(program string, data []byte) ([]byte, error) {
	cmd := exec.Command(program, "user-data")
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(data), &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("translating user data: %w: %s", err, strings.TrimSpace(said.String()))
	}
	if out.Len() == 0 {
		return nil, nil
	}
	return out.Bytes(), nil
}
