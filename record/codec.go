package record

import "encoding/binary"

const (
	flagDeleted  = 1 << 0
	flagExpires  = 1 << 1
	flagBlob     = 1 << 2
	flagReplaces = 1 << 3
	knownFlags   = flagDeleted | flagExpires | flagBlob | flagReplaces
)

// Size is the length of the record's encoding in bytes.
func (r *Record) Size() int {
	return r.headSize() + len(r.Payload) + signatureSize
}

// headSize is the length of everything up to and including the path.
func (r *Record) headSize() int {
	n := headerSize + len(r.Path)
	if r.Expires != 0 {
		n += 8
	}
	if len(r.Replaces) > 0 {
		n += 1 + 12*len(r.Replaces)
	}
	return n
}

// Append appends the record's one encoding to dst. The record must pass
// Check; what it appends for one that does not is unspecified.
func (r *Record) Append(dst []byte) []byte {
	dst = r.appendHead(dst)
	dst = append(dst, r.Payload...)
	return append(dst, r.Signature[:]...)
}

func (r *Record) appendHead(dst []byte) []byte {
	var flags byte
	if r.Deleted {
		flags |= flagDeleted
	}
	if r.Expires != 0 {
		flags |= flagExpires
	}
	if r.Blob {
		flags |= flagBlob
	}
	if len(r.Replaces) > 0 {
		flags |= flagReplaces
	}
	dst = append(dst, Version, byte(r.Kind), flags)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Path)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(r.Payload)))
	dst = binary.BigEndian.AppendUint64(dst, r.Time)
	dst = binary.BigEndian.AppendUint64(dst, r.Lane)
	dst = binary.BigEndian.AppendUint32(dst, r.Seq)
	dst = append(dst, r.Author[:]...)
	if r.Expires != 0 {
		dst = binary.BigEndian.AppendUint64(dst, r.Expires)
	}
	if len(r.Replaces) > 0 {
		dst = append(dst, byte(len(r.Replaces)))
		for _, e := range r.Replaces {
			dst = append(dst, e.Lane[:]...)
			dst = binary.BigEndian.AppendUint32(dst, e.Number)
		}
	}
	return append(dst, r.Path...)
}

// Decode reads a record from exactly b. Bytes that are not the one encoding
// of a well-formed record are refused with a *FieldError. The record's
// Payload aliases b, which must not change afterwards. Decode allocates the
// path and the replaces vector only, both bounded by the format, and never
// more than b accounts for.
func Decode(b []byte) (Record, error) {
	if len(b) < minSize+1 {
		return Record{}, malformed("length", "%d bytes, at least %d", len(b), minSize+1)
	}
	if len(b) > MaxSize {
		return Record{}, malformed("length", "%d bytes, at most %d", len(b), MaxSize)
	}
	if b[0] != Version {
		return Record{}, malformed("version", "%d instead of %d", b[0], Version)
	}
	flags := b[2]
	if flags&^knownFlags != 0 {
		return Record{}, malformed("flags", "unknown bits 0x%02x", flags&^knownFlags)
	}
	r := Record{
		Kind:    Kind(b[1]),
		Deleted: flags&flagDeleted != 0,
		Blob:    flags&flagBlob != 0,
		Time:    binary.BigEndian.Uint64(b[9:]),
		Lane:    binary.BigEndian.Uint64(b[17:]),
		Seq:     binary.BigEndian.Uint32(b[25:]),
		Author:  Key(b[29:61]),
	}
	pathLen := int(binary.BigEndian.Uint16(b[3:]))
	payloadLen := binary.BigEndian.Uint32(b[5:])
	if pathLen < 1 || pathLen > MaxPath {
		return Record{}, malformed("pathLen", "%d, 1 to %d are allowed", pathLen, MaxPath)
	}
	if payloadLen > MaxPayload {
		return Record{}, malformed("payloadLen", "%d, at most %d", payloadLen, MaxPayload)
	}
	body := b[headerSize : len(b)-signatureSize]
	if flags&flagExpires != 0 {
		if len(body) < 8 {
			return Record{}, malformed("expires", "cut off")
		}
		r.Expires = binary.BigEndian.Uint64(body)
		if r.Expires == 0 {
			return Record{}, malformed("expires", "0 under a set flag")
		}
		body = body[8:]
	}
	if flags&flagReplaces != 0 {
		var err error
		if r.Replaces, body, err = decodeReplaces(body); err != nil {
			return Record{}, err
		}
	}
	if len(body) != pathLen+int(payloadLen) {
		return Record{}, malformed("length", "%d bytes of path and payload, the header says %d and %d", len(body), pathLen, payloadLen)
	}
	r.Path = string(body[:pathLen])
	r.Payload = body[pathLen:len(body):len(body)]
	copy(r.Signature[:], b[len(b)-signatureSize:])
	if err := r.Check(); err != nil {
		return Record{}, err
	}
	return r, nil
}

func decodeReplaces(body []byte) ([]Replaced, []byte, error) {
	if len(body) < 1 {
		return nil, nil, malformed("replaces", "cut off")
	}
	n := int(body[0])
	body = body[1:]
	if n < 1 || n > MaxReplaces {
		return nil, nil, malformed("replaces", "%d entries, 1 to %d are allowed", n, MaxReplaces)
	}
	if len(body) < 12*n {
		return nil, nil, malformed("replaces", "cut off")
	}
	out := make([]Replaced, n)
	for i := range out {
		out[i] = Replaced{Lane: Tag(body[:8]), Number: binary.BigEndian.Uint32(body[8:])}
		body = body[12:]
	}
	return out, body, nil
}
