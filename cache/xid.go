package cache

// Widen returns the 64-bit transaction id with these lower 32 bits that is nearest to near. The stream
// of changes and the catalogue carry 32 bits; two ids of running or just ended transactions are never 2^31 apart.
//
// Near must be young: the greatest id of a heartbeat's snapshot, never that of a stored response.
func Widen(xid uint32, near uint64) uint64 {
	distance := int64(int32(xid - uint32(near)))
	if distance < 0 && uint64(-distance) > near {
		return uint64(xid) // before the first 2^32
	}
	return near + uint64(distance)
}
