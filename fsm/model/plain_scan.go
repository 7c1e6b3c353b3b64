package model

import (
	"encoding/binary"
	"unsafe"
)

// plainLen gives how many bytes at the beginning of data are plain. Values are looked at with every read and write of a
// row, so it goes by eight bytes while all of them are.
func plainLen(data []byte) int {
	const (
		ones = 0x0101010101010101
		high = 0x8080808080808080
	)
	i := 0
	for ; i+8 <= len(data); i += 8 {
		x := binary.LittleEndian.Uint64(data[i:])
		and, angle, slash := x|0x04*ones^0x26*ones, x|0x02*ones^0x3e*ones, x^0x5c*ones // zero where it is " or &, < or >, \
		// A byte's high bit is set below where the byte is zero, less than a space, or more than a tilde. Where one is, a
		// borrow may set that of the byte above, too: then the bytes are looked at one by one.
		found := (and-ones)&^and | (angle-ones)&^angle | (slash-ones)&^slash | (x-0x20*ones)&^x | (x + ones) | x
		if found&high != 0 {
			break
		}
	}
	for i < len(data) && plainByte(data[i]) {
		i++
	}
	return i
}

// bytesOf gives the bytes of a text without a copy; nobody may change them.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// textOf gives the text of bytes that nobody will change, without a copy.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
