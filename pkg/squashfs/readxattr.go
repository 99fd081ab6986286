package squashfs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/slipway-os/slipway/pkg/tree"
)

// maxXattrs bounds the names and values on one inode, in bytes.
const maxXattrs = 1 << 20

func (s *Reader) readXattrs(place uint32) ([]tree.Xattr, error) {
	if place == noXattr {
		return nil, nil
	}
	if int64(place) >= int64(len(s.xattrs)) {
		return nil, fmt.Errorf("xattr set %d of %d", place, len(s.xattrs))
	}
	set := s.xattrs[place]
	m, err := s.metaAt(s.pairs, set.Pairs)
	if err != nil {
		return nil, err
	}
	var list []tree.Xattr
	left := maxXattrs
	for range set.Count {
		var key xattrKey
		if err := readValues(m, &key); err != nil {
			return nil, err
		}
		elsewhere := key.Prefix&xattrElsewhere != 0
		key.Prefix &^= xattrElsewhere
		if int(key.Prefix) >= len(xattrPrefixes) || key.NameSize == 0 || key.NameSize > 255 {
			return nil, fmt.Errorf("xattr of type %#x, name of %d bytes", key.Prefix, key.NameSize)
		}
		name := make([]byte, key.NameSize)
		if err := readValues(m, name); err != nil {
			return nil, err
		}
		if bytes.IndexByte(name, 0) >= 0 {
			return nil, fmt.Errorf("xattr name %q", name)
		}
		left -= len(name)
		value, err := s.readXattrValue(m, elsewhere, left)
		if err != nil {
			return nil, err
		}
		left -= len(value)
		list = append(list, tree.Xattr{Name: xattrPrefixes[key.Prefix] + string(name), Value: value})
	}
	// Other writers list them in an order of their own.
	slices.SortFunc(list, func(a, b tree.Xattr) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// readXattrValue reads a value that lies in m or, stored there once for
// several inodes, at a reference that lies in m.
func (s *Reader) readXattrValue(m *metaReader, elsewhere bool, limit int) ([]byte, error) {
	var size uint32
	if err := readValues(m, &size); err != nil {
		return nil, err
	}
	if elsewhere {
		var ref inodeRef
		err := readValues(m, &ref)
		if err == nil {
			m, err = s.metaAt(s.pairs, ref)
		}
		if err == nil {
			err = readValues(m, &size)
		}
		if err != nil {
			return nil, err
		}
	}
	if int64(size) > int64(limit) {
		return nil, errors.New("more than 1 MiB of xattrs on one inode")
	}
	value := make([]byte, size)
	return value, readValues(m, value)
}
