// Package ext4test makes file systems for tests that something is wrong with.
package ext4test

import (
	"encoding/binary"
	"hash/crc32"
)

// NoteError does to a superblock, of 1,024 bytes, what the kernel does when it
// finds an error in the file system (Linux, fs/ext4/ext4.h, s_state and
// s_checksum).
func NoteError(super []byte) {
	super[0x3a] |= 2 // EXT4_ERROR_FS
	binary.LittleEndian.PutUint32(super[0x3fc:], ^crc32.Checksum(super[:0x3fc], crc32.MakeTable(crc32.Castagnoli)))
}
