package blockdev

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Types of identifiers in the Namespace Identification Descriptor list (NVMe
// Base Specification 1.4, figure 249), and their lengths.
const (
	nidtEUI64 = 1
	nidtNGUID = 2
	nidtUUID  = 3
)

var nidtBytes = map[byte]int{nidtEUI64: 8, nidtNGUID: 16, nidtUUID: 16}

// parseIdentify reads the Identify Namespace data structure and the list of
// descriptors, which may be nil. Of an NSID that is not in use the structure
// is all zero, and so is the Namespace.
func parseIdentify(page, list []byte) (Namespace, error) {
	if len(page) < 192 {
		return Namespace{}, fmt.Errorf("identify data of %d bytes is too short", len(page))
	}
	n := Namespace{NGUID: hexUnlessZero(page[104:120]), EUI64: hexUnlessZero(page[120:128])}
	ids, err := parseDescriptors(list)
	if err != nil {
		return Namespace{}, err
	}
	n.UUID = ids[nidtUUID]
	for _, id := range []struct {
		field *string
		nidt  byte
		name  string
	}{{&n.NGUID, nidtNGUID, "NGUID"}, {&n.EUI64, nidtEUI64, "EUI64"}} {
		listed := ids[id.nidt]
		if *id.field != "" && listed != "" && *id.field != listed {
			return Namespace{}, fmt.Errorf("the device contradicts itself: its %s is %s, and %s in its list of identifiers", id.name, *id.field, listed)
		}
		*id.field = or(*id.field, listed)
	}
	n.SizeBytes, err = sizeOf(page)
	return n, err
}

// sizeOf is NSZE, the number of blocks, times the size of a block in the LBA
// format that FLBAS chooses.
func sizeOf(page []byte) (int64, error) {
	blocks := binary.LittleEndian.Uint64(page[0:8])
	if blocks == 0 {
		return 0, nil
	}
	// Bits 0 to 3 of FLBAS, and since NVMe 2.0 bits 5 and 6 above them where
	// there are more than 16 formats (NLBAF counts from 0).
	format := int(page[26] & 0x0f)
	if page[25] > 15 {
		format |= int(page[26]>>5&3) << 4
	}
	at := 128 + 4*format
	if at+4 > len(page) {
		return 0, fmt.Errorf("identify data names LBA format %d, and has no such", format)
	}
	shift := page[at+2] // LBADS
	if shift < 9 || shift > 31 {
		return 0, fmt.Errorf("identify data names blocks of 2^%d bytes", shift)
	}
	if bits.Len64(blocks)+int(shift) > 63 {
		return 0, fmt.Errorf("identify data names %d blocks of 2^%d bytes, more than a device can have", blocks, shift)
	}
	return int64(blocks << shift), nil
}

// parseDescriptors returns the first identifier of each type.
func parseDescriptors(list []byte) (map[byte]string, error) {
	ids := map[byte]string{}
	for len(list) >= 4 && list[1] != 0 { // a descriptor of length 0 ends the list
		nidt, length := list[0], int(list[1])
		if 4+length > len(list) {
			return nil, fmt.Errorf("identifier of type %d and %d bytes exceeds its list", nidt, length)
		}
		id := list[4 : 4+length]
		if want, known := nidtBytes[nidt]; known && length != want {
			return nil, fmt.Errorf("identifier of type %d has %d bytes instead of %d", nidt, length, want)
		} else if _, twice := ids[nidt]; known && !twice {
			ids[nidt] = hexUnlessZero(id)
		}
		list = list[4+length:]
	}
	return ids, nil
}
