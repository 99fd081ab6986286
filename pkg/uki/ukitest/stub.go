// Package ukitest makes what tests of unified kernel images need.
package ukitest

import "encoding/binary"

// Code is what lies in a stub's section.
const Code = "the code of a stub"

// Stub returns a PE program for amd64, or arm64, with one section and room for
// a few more. It is whole, but does nothing.
func Stub(arm bool) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0x800)
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], 0x80)
	h := b[0x80:]
	copy(h, "PE\x00\x00")
	le.PutUint16(h[4:], 0x8664)
	if arm {
		le.PutUint16(h[4:], 0xaa64)
	}
	le.PutUint16(h[6:], 1)
	le.PutUint16(h[20:], 240)
	o := h[24:]
	le.PutUint16(o, 0x20b)
	le.PutUint32(o[32:], 0x1000)
	le.PutUint32(o[36:], 0x200)
	le.PutUint32(o[56:], 0x2000)
	le.PutUint32(o[60:], 0x400)
	le.PutUint32(o[108:], 16)
	s := o[240:]
	copy(s, ".text")
	le.PutUint32(s[8:], 0x123)
	le.PutUint32(s[12:], 0x1000)
	le.PutUint32(s[16:], 0x400)
	le.PutUint32(s[20:], 0x400)
	copy(b[0x400:], Code)
	return b
}
