package kmod

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The format of the .bin files, after libkmod/libkmod-index.c: a magic, a
// version and the root's offset, then nodes, children before their parent, each
// of an optional prefix (NUL-terminated), optional children (the first and the
// last character, then an offset for each between) and optional values (their
// count, then for each its priority and text). The top bits of a node's offset
// say which of these it has. Numbers are 32 bits, big-endian.
const (
	trieMagic     = 0xB007F457
	trieVersion   = 2<<16 | 1
	trieHeader    = 12
	triePrefix    = 0x80000000
	trieValues    = 0x40000000
	trieChildren  = 0x20000000
	trieMaxOffset = 0x0FFFFFFF
	trieCharacter = 128 // characters are below
)

// trie is an index in the making: a radix tree from keys to lists of values.
type trie struct {
	prefix   string
	values   []trieValue
	children []trieChild // sorted by character
}

type trieValue struct {
	priority uint32
	text     string
}

type trieChild struct {
	character byte
	node      *trie
}

// insert adds a value under a key. Values are sorted by priority, low ones
// first; of equal ones the later comes first.
func (t *trie) insert(key, value string, priority int) error {
	for i := range len(key) {
		if key[i] >= trieCharacter {
			return fmt.Errorf("module index: %q is not ASCII", key)
		}
	}
	v := trieValue{uint32(priority), value}
	for {
		same := 0
		for same < min(len(t.prefix), len(key)) && t.prefix[same] == key[same] {
			same++
		}
		if same < len(t.prefix) {
			rest := &trie{t.prefix[same+1:], t.values, t.children}
			*t = trie{prefix: t.prefix[:same], children: []trieChild{{t.prefix[same], rest}}}
		}
		key = key[same:]
		if key == "" {
			at, _ := slices.BinarySearchFunc(t.values, v.priority, func(v trieValue, p uint32) int {
				return int(v.priority) - int(p)
			})
			t.values = slices.Insert(t.values, at, v)
			return nil
		}
		at, found := slices.BinarySearchFunc(t.children, key[0], func(c trieChild, b byte) int {
			return int(c.character) - int(b)
		})
		if !found {
			leaf := &trie{prefix: strings.Clone(key[1:]), values: []trieValue{v}}
			t.children = slices.Insert(t.children, at, trieChild{key[0], leaf})
			return nil
		}
		t, key = t.children[at].node, key[1:]
	}
}

// encode returns the index as a file.
func (t *trie) encode() ([]byte, error) {
	var out bytes.Buffer
	out.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, trieMagic), trieVersion))
	out.Write(make([]byte, 4))
	root := t.write(&out)
	if out.Len() > trieMaxOffset {
		return nil, errors.New("module index larger than its offsets can say")
	}
	binary.BigEndian.PutUint32(out.Bytes()[trieHeader-4:], root)
	return out.Bytes(), nil
}

// write appends a node after its children and returns its offset.
func (t *trie) write(out *bytes.Buffer) uint32 {
	var table []byte
	if n := len(t.children); n > 0 {
		first, last := t.children[0].character, t.children[n-1].character
		table = make([]byte, 2+4*(int(last-first)+1))
		table[0], table[1] = first, last
		for _, c := range t.children {
			binary.BigEndian.PutUint32(table[2+4*int(c.character-first):], c.node.write(out))
		}
	}
	offset := uint32(out.Len())
	if t.prefix != "" {
		offset |= triePrefix
		out.WriteString(t.prefix)
		out.WriteByte(0)
	}
	if table != nil {
		offset |= trieChildren
		out.Write(table)
	}
	if len(t.values) > 0 {
		offset |= trieValues
		number := func(n uint32) { out.Write(binary.BigEndian.AppendUint32(nil, n)) }
		number(uint32(len(t.values)))
		for _, v := range t.values {
			number(v.priority)
			out.WriteString(v.text)
			out.WriteByte(0)
		}
	}
	return offset
}
