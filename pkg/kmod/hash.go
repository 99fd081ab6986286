package kmod

import (
	"cmp"
	"slices"
)

// depmod lists modules that modules.order does not name, and all symbols, in
// the order in which its hash tables yield them: by bucket, and inside one by
// name. This order shows in its output, so it is kept. The tables have these
// numbers of buckets.
const (
	moduleBuckets = 512
	symbolBuckets = 2048
)

// hashOrder sorts names as a table of kmod's shared/hash.c yields them.
func hashOrder(names []string, buckets uint32) {
	type entry struct {
		bucket uint32
		name   string
	}
	entries := make([]entry, len(names))
	for i, name := range names {
		entries[i] = entry{superfast(name) & (buckets - 1), name}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.bucket, b.bucket), cmp.Compare(a.name, b.name))
	})
	for i, e := range entries {
		names[i] = e.name
	}
}

// superfast is Paul Hsieh's hash (http://www.azillionmonkeys.com/qed/hash.html)
// as hash_superfast computes it on a little-endian machine with signed chars.
func superfast(key string) uint32 {
	pair := func(i int) uint32 { return uint32(key[i]) | uint32(key[i+1])<<8 }
	char := func(i int) uint32 { return uint32(int32(int8(key[i]))) }

	hash := uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		hash += pair(0)
		hash = hash<<16 ^ pair(2)<<11 ^ hash
		hash += hash >> 11
	}
	switch len(key) {
	case 3:
		hash += pair(0)
		hash ^= hash << 16
		hash ^= char(2) << 18
		hash += hash >> 11
	case 2:
		hash += pair(0)
		hash ^= hash << 11
		hash += hash >> 17
	case 1:
		hash += char(0)
		hash ^= hash << 10
		hash += hash >> 1
	}
	hash ^= hash << 3
	hash += hash >> 5
	hash ^= hash << 4
	hash += hash >> 17
	hash ^= hash << 25
	hash += hash >> 6
	return hash
}
