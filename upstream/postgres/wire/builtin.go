package wire

// OIDs of built-in types. Postgres never reassigns them (src/include/catalog/pg_type.dat).
const (
	boolOID        = 16
	byteaOID       = 17
	charOID        = 18
	nameOID        = 19
	int8OID        = 20
	int2OID        = 21
	int2vectorOID  = 22
	int4OID        = 23
	textOID        = 25
	oidOID         = 26
	tidOID         = 27
	xidOID         = 28
	cidOID         = 29
	oidvectorOID   = 30
	jsonOID        = 114
	xmlOID         = 142
	pointOID       = 600
	lsegOID        = 601
	pathOID        = 602
	boxOID         = 603
	polygonOID     = 604
	lineOID        = 628
	cidrOID        = 650
	float4OID      = 700
	float8OID      = 701
	circleOID      = 718
	macaddr8OID    = 774
	moneyOID       = 790
	macaddrOID     = 829
	inetOID        = 869
	bpcharOID      = 1042
	varcharOID     = 1043
	dateOID        = 1082
	timeOID        = 1083
	timestampOID   = 1114
	timestamptzOID = 1184
	intervalOID    = 1186
	timetzOID      = 1266
	bitOID         = 1560
	varbitOID      = 1562
	numericOID     = 1700
	voidOID        = 2278
	uuidOID        = 2950
	pgLSNOID       = 3220
	tsvectorOID    = 3614
	tsqueryOID     = 3615
	jsonbOID       = 3802
	xid8OID        = 5069
)

// builtinScalar says how a built-in type is written that holds no other. The types missing here
// (reg*, ranges, statistics) are read from the catalogue like a user's.
func builtinScalar(oid uint32) (kind, bool) {
	switch oid {
	case textOID, varcharOID, bpcharOID, nameOID, charOID, xmlOID, tsvectorOID, tsqueryOID, voidOID:
		return kindText, true
	case int2OID, int4OID, int8OID, float4OID, float8OID, numericOID:
		return kindNumber, true
	case boolOID:
		return kindBool, true
	case dateOID:
		return kindDate, true
	case timestampOID, timestamptzOID:
		return kindTimestamp, true
	case jsonOID, jsonbOID:
		return kindJSON, true
	case byteaOID, uuidOID, timeOID, timetzOID, intervalOID, moneyOID,
		oidOID, tidOID, xidOID, cidOID, xid8OID, pgLSNOID,
		pointOID, lsegOID, pathOID, boxOID, polygonOID, lineOID, circleOID,
		inetOID, cidrOID, macaddrOID, macaddr8OID, bitOID, varbitOID:
		return kindPlain, true
	default:
		return 0, false
	}
}

// binaryKind says how a type's binary format is written, for the types whose binary format is
// understood.
func binaryKind(oid uint32) (kind, bool) {
	switch oid {
	case uuidOID:
		return kindBinaryUUID, true
	case byteaOID:
		return kindBinaryBytea, true
	case dateOID:
		return kindBinaryDate, true
	case timestampOID:
		return kindBinaryTimestamp, true
	case timestamptzOID:
		return kindBinaryTimestampTZ, true
	default:
		return 0, false
	}
}

// builtinContainer describes the arrays of the scalars above and the two vectors.
func builtinContainer(oid uint32) (Type, bool) {
	if oid == int2vectorOID {
		return Type{Kind: Vector, Of: int2OID, Delimiter: " "}, true
	}
	if oid == oidvectorOID {
		return Type{Kind: Vector, Of: oidOID, Delimiter: " "}, true
	}
	element := builtinElement(oid)
	if element == 0 {
		return Type{}, false
	}
	t := Type{Kind: Array, Of: element, Delimiter: ","}
	if element == boxOID {
		t.Delimiter = ";"
	}
	return t, true
}

// builtinElement returns the element type of a built-in array type, 0 for other types.
func builtinElement(oid uint32) uint32 {
	for _, pair := range builtinArrays {
		if pair[0] == oid {
			return pair[1]
		}
	}
	return 0
}

// builtinArrays holds array types and their elements. Searched once per column of a prepared
// statement, never per value.
var builtinArrays = [...][2]uint32{
	{1000, boolOID},
	{1001, byteaOID},
	{1002, charOID},
	{1003, nameOID},
	{1016, int8OID},
	{1005, int2OID},
	{1006, int2vectorOID},
	{1007, int4OID},
	{1009, textOID},
	{1028, oidOID},
	{1010, tidOID},
	{1011, xidOID},
	{1012, cidOID},
	{1013, oidvectorOID},
	{199, jsonOID},
	{143, xmlOID},
	{1017, pointOID},
	{1018, lsegOID},
	{1019, pathOID},
	{1020, boxOID},
	{1027, polygonOID},
	{629, lineOID},
	{651, cidrOID},
	{1021, float4OID},
	{1022, float8OID},
	{719, circleOID},
	{775, macaddr8OID},
	{791, moneyOID},
	{1040, macaddrOID},
	{1041, inetOID},
	{1014, bpcharOID},
	{1015, varcharOID},
	{1182, dateOID},
	{1183, timeOID},
	{1115, timestampOID},
	{1185, timestamptzOID},
	{1187, intervalOID},
	{1270, timetzOID},
	{1561, bitOID},
	{1563, varbitOID},
	{1231, numericOID},
	{2951, uuidOID},
	{3221, pgLSNOID},
	{3643, tsvectorOID},
	{3645, tsqueryOID},
	{3807, jsonbOID},
	{271, xid8OID},
}
