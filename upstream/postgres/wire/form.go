package wire

import (
	"errors"
	"fmt"
)

// ErrMismatch means that a value is not what its column's type says: the type was altered since the
// catalogue was read, or a session setting differs from SessionSettings. Reading the catalogue again
// and repeating the statement mends the first.
var ErrMismatch = errors.New("value does not fit the type of its column")

// maxDepth bounds how deep types may be nested in each other. Postgres refuses types that contain
// themselves, so only a damaged catalogue reaches it.
const maxDepth = 100

// kind is how a value is written.
type kind uint8

const (
	kindText              kind = iota // any text, perhaps a user's: escaped; defused in CSV
	kindPlain                         // text of a fixed vocabulary (inet, interval, money): escaped; never defused
	kindNumber                        // a bare number, or a string when it is none
	kindBool                          // t or f
	kindDate                          // ISO text
	kindTimestamp                     // ISO text, with or without an offset
	kindJSON                          // copied
	kindArray                         // {a,b}
	kindVector                        // int2vector, oidvector: a b
	kindComposite                     // (a,b)
	kindHstore                        // "a"=>"b"
	kindToJSON                        // cannot be written from the wire
	kindBinaryUUID                    // 16 bytes
	kindBinaryBytea                   // the bytes
	kindBinaryDate                    // days since 2000-01-01
	kindBinaryTimestamp               // microseconds since 2000-01-01
	kindBinaryTimestampTZ             // the same, in UTC
)

// form is how the values of one type are written: its kind, and the forms of what is in it. Immutable
// once made.
type form struct {
	kind      kind
	delimiter byte    // between the elements of an array
	element   *form   // of arrays and vectors
	fields    []field // of composites
}

// field is a column of a row or a composite.
type field struct {
	key   []byte         // what stands before the value: {"name": or ,"name":
	block [keyBlock]byte // the key, if it fits
	form  *form
}

// keyBlock is how many bytes are copied for a key of at most as many.
const keyBlock = 32

func newField(i int, name string, form *form) field {
	f := field{key: appendKey(nil, i, name), form: form}
	copy(f.block[:], f.key)
	return f
}

// appendKey writes the key. A short one is copied as a block of fixed size, which is a fourth of what it costs to
// call for a copy; the value is written over what is too much.
func (f *field) appendKey(dst []byte) []byte {
	n := len(dst)
	if len(f.key) > keyBlock || cap(dst)-n < keyBlock {
		return append(dst, f.key...)
	}
	*(*[keyBlock]byte)(dst[n : n+keyBlock]) = f.block
	return dst[:n+len(f.key)]
}

// newForm finds the form in which the type's text output is written.
func newForm(types Catalogue, oid uint32, depth int) (*form, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("type %d is nested more than %d deep", oid, maxDepth)
	}
	if k, ok := builtinScalar(oid); ok {
		return &form{kind: k}, nil
	}
	t, ok := builtinContainer(oid)
	if !ok {
		t, ok = types[oid]
	}
	if !ok {
		return nil, fmt.Errorf("type %d is not in the catalogue", oid)
	}
	switch t.Kind {
	case Text:
		return &form{kind: kindText}, nil
	case Hstore:
		return &form{kind: kindHstore}, nil
	case Domain:
		return newForm(types, t.Of, depth+1)
	case Array, Vector:
		return newArrayForm(types, t, depth)
	case Composite:
		return newCompositeForm(types, t, depth)
	default:
		return &form{kind: kindToJSON}, nil
	}
}

func newArrayForm(types Catalogue, t Type, depth int) (*form, error) {
	element, err := newForm(types, t.Of, depth+1)
	if err != nil {
		return nil, err
	}
	f := &form{kind: kindArray, delimiter: ',', element: element}
	if len(t.Delimiter) == 1 {
		f.delimiter = t.Delimiter[0]
	}
	if t.Kind == Vector {
		f.kind = kindVector
	}
	if element.kind == kindToJSON {
		f.kind = kindToJSON
	}
	return f, nil
}

func newCompositeForm(types Catalogue, t Type, depth int) (*form, error) {
	f := &form{kind: kindComposite, fields: make([]field, len(t.Fields))}
	for i, column := range t.Fields {
		inner, err := newForm(types, column.OID, depth+1)
		if err != nil {
			return nil, err
		}
		if inner.kind == kindToJSON {
			return inner, nil
		}
		f.fields[i] = newField(i, column.Name, inner)
	}
	return f, nil
}

// appendKey appends what stands before the i-th value of an object.
func appendKey(dst []byte, i int, name string) []byte {
	if i == 0 {
		dst = append(dst, '{')
	} else {
		dst = append(dst, ',')
	}
	dst = AppendJSONString(dst, []byte(name))
	return append(dst, ':')
}

// append writes a value that is not NULL as JSON.
func (f *form) append(dst, value []byte) ([]byte, error) {
	switch f.kind {
	case kindText, kindPlain:
		return AppendJSONString(dst, value), nil
	case kindNumber:
		return appendNumber(dst, value), nil
	case kindBool:
		return appendBool(dst, value)
	case kindJSON:
		if len(value) == 0 {
			return dst, mismatch("json", value)
		}
		return append(dst, value...), nil
	case kindArray:
		return f.appendArray(dst, value)
	case kindVector:
		return f.appendVector(dst, value)
	case kindComposite:
		return f.appendComposite(dst, value)
	case kindHstore:
		return appendHstore(dst, value)
	}
	// What is left is quoted in JSON and bare in CSV.
	dst, err := f.appendBare(append(dst, '"'), value)
	return append(dst, '"'), err
}

// isText says that values are written as JSON strings of their text.
func (f *form) isText() bool { return f.kind == kindText || f.kind == kindPlain }

// appendBare writes values whose JSON is their CSV within quotes: they hold nothing to escape, but for
// the backslash of a bytea.
func (f *form) appendBare(dst, value []byte) ([]byte, error) {
	switch f.kind {
	case kindDate:
		return appendDateText(dst, value)
	case kindTimestamp:
		return appendTimestampText(dst, value)
	case kindBinaryUUID:
		return appendUUID(dst, value)
	case kindBinaryBytea:
		return appendHex(append(dst, `\\x`...), value), nil
	case kindBinaryDate:
		return appendDate(dst, value)
	case kindBinaryTimestamp:
		return appendTimestamp(dst, value, "")
	case kindBinaryTimestampTZ:
		return appendTimestamp(dst, value, "+00:00")
	default:
		panic("BUG: no way to write a value of this kind")
	}
}

// mismatch tells what was found where something else should have been. The value itself may be a
// secret and stays out of the error.
func mismatch(what string, value []byte) error {
	return fmt.Errorf("read %s of %d bytes: %w", what, len(value), ErrMismatch)
}
