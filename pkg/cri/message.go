package cri

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Version is a VersionResponse.
type Version struct {
	RuntimeName    string // "containerd"
	RuntimeVersion string // "v2.4.2"
	APIVersion     string // "v1"
}

// Status is a StatusResponse.
type Status struct {
	Conditions []Condition
}

// Names of the conditions that every runtime has.
const (
	RuntimeReady = "RuntimeReady"
	NetworkReady = "NetworkReady"
)

// Condition is a RuntimeCondition.
type Condition struct {
	Type    string
	Ready   bool
	Reason  string
	Message string
}

// Ready tells whether a condition is there and met.
func (s Status) Ready(condition string) bool {
	for _, c := range s.Conditions {
		if c.Type == condition {
			return c.Ready
		}
	}
	return false
}

// Image is an image that pods can use.
type Image struct {
	ID          string // digest of the config: "sha256:…"
	RepoTags    []string
	RepoDigests []string
	Size        uint64
	Pinned      bool // kubelet does not delete it
}

func parseVersion(message []byte) (Version, error) {
	var v Version
	err := fields(message, func(f field) error {
		switch f.number {
		case 2:
			return f.text(&v.RuntimeName)
		case 3:
			return f.text(&v.RuntimeVersion)
		case 4:
			return f.text(&v.APIVersion)
		}
		return nil
	})
	return v, err
}

func parseStatus(message []byte) (Status, error) {
	var s Status
	err := fields(message, func(f field) error {
		if f.number != 1 {
			return nil
		}
		return f.message(func(f field) error {
			if f.number != 1 {
				return nil
			}
			var c Condition
			err := f.message(func(f field) error {
				switch f.number {
				case 1:
					return f.text(&c.Type)
				case 2:
					return f.boolean(&c.Ready)
				case 3:
					return f.text(&c.Reason)
				case 4:
					return f.text(&c.Message)
				}
				return nil
			})
			s.Conditions = append(s.Conditions, c)
			return err
		})
	})
	return s, err
}

func parseImages(message []byte) ([]Image, error) {
	var images []Image
	err := fields(message, func(f field) error {
		if f.number != 1 {
			return nil
		}
		var img Image
		err := f.message(func(f field) error {
			switch f.number {
			case 1:
				return f.text(&img.ID)
			case 2:
				return f.texts(&img.RepoTags)
			case 3:
				return f.texts(&img.RepoDigests)
			case 4:
				return f.unsigned(&img.Size)
			case 8:
				return f.boolean(&img.Pinned)
			}
			return nil
		})
		images = append(images, img)
		return err
	})
	return images, err
}

// field is one field of a message.
type field struct {
	number protowire.Number
	kind   protowire.Type
	varint uint64
	bytes  []byte
}

// fields calls f for each field, unknown ones too.
func fields(message []byte, f func(field) error) error {
	for len(message) > 0 {
		var v field
		var n int
		if v.number, v.kind, n = protowire.ConsumeTag(message); n < 0 {
			return fmt.Errorf("reading a field's tag: %w", protowire.ParseError(n))
		}
		message = message[n:]
		switch v.kind {
		case protowire.VarintType:
			v.varint, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(v.number, v.kind, message)
		}
		if n < 0 {
			return fmt.Errorf("reading field %d: %w", v.number, protowire.ParseError(n))
		}
		message = message[n:]
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}

func (f field) is(kind protowire.Type) error {
	if f.kind != kind {
		return fmt.Errorf("reading field %d: it is of wire type %d, not %d", f.number, f.kind, kind)
	}
	return nil
}

func (f field) message(each func(field) error) error {
	if err := f.is(protowire.BytesType); err != nil {
		return err
	}
	return fields(f.bytes, each)
}

func (f field) text(to *string) error {
	*to = string(f.bytes)
	return f.is(protowire.BytesType)
}

func (f field) texts(to *[]string) error {
	*to = append(*to, string(f.bytes))
	return f.is(protowire.BytesType)
}

func (f field) unsigned(to *uint64) error {
	*to = f.varint
	return f.is(protowire.VarintType)
}

func (f field) boolean(to *bool) error {
	*to = f.varint != 0
	return f.is(protowire.VarintType)
}
