package main

import (
	"github.com/slipway-os/slipway/pkg/diag"
	"github.com/slipway-os/slipway/pkg/document"
)

// kind is a kind of file that users write or keep.
type kind struct{ name, next string }

// kindOf tells what a file is by the fields that no other kind has. It is the
// zero kind if that is not clear.
func kindOf(name string, data []byte) kind {
	doc, err := document.Parse(name, data)
	if err != nil || doc.Root() == nil {
		return kind{}
	}
	has := func(field string) bool { return document.Value(doc.Root(), field) != nil }
	switch {
	case has("seed") && has("encryptionKey"):
		return kind{"the secrets of a cluster", "builder cluster render CLUSTER --secrets " + name}
	case has("nodes") && !has("role"):
		return kind{"a description of a cluster", "builder cluster check " + name}
	case has("role") && !has("nodes"):
		return kind{"a role", "builder role check " + name}
	}
	return kind{}
}

// checkKind refuses a file that is clearly of another kind than the named one:
// in one line, not in one for each field.
func checkKind(name string, data []byte, want string) error {
	got := kindOf(name, data)
	if got == (kind{}) || got.name == want {
		return nil
	}
	return diag.At(diag.Position{File: name}, got.next, "this is %s, not %s", got.name, want)
}
