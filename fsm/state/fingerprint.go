package state

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Fingerprint digests everything that decides or is served: two nodes that applied the same log up to the
// same entry have the same. It reads every row, so it is for tests and for checks by hand.
func (s *Store) Fingerprint() string {
	s.memMu.RLock()
	defer s.memMu.RUnlock()
	pub, m := s.pub.Load(), s.mem
	sum := sha256.New()
	fmt.Fprintln(sum, pub.index, pub.term, pub.epoch, pub.time, m.window, m.floor, m.boundary)
	if r := &pub.ring; pub.schema >= SchemaEvents {
		fmt.Fprintln(sum, pub.schema, r.n, r.bytes, r.limit, r.floor)
		for i := range r.n {
			fmt.Fprintf(sum, "%+v\n", *r.at(i))
		}
	}
	for _, g := range []*generation{&m.old, &m.young} {
		// Maps have no order: the sum of the digests of what they hold has none either.
		var marks, ids uint64
		g.marks.each(func(k mark, v uint64) { marks += uint64(k) * (2*v + 1) })
		g.ids.each(func(k ID, v took) {
			ids += binary.BigEndian.Uint64(k[:]) * (2*v.index + 1) * (2*uint64(v.pos) + 1)
		})
		fmt.Fprintln(sum, g.marks.n, marks, g.ids.n, ids)
	}
	it, err := pub.db.Txn(false).Get(tableRows, "id_prefix", "")
	if err != nil {
		return err.Error()
	}
	var buf []byte
	for obj := it.Next(); obj != nil; obj = it.Next() {
		buf = obj.(*record).encode(buf[:0])
		_, _ = sum.Write(binary.AppendUvarint(nil, uint64(len(buf)))) // a hash never fails
		_, _ = sum.Write(buf)
	}
	it, err = pub.db.Txn(false).Get(tableMembers, "id_prefix", "")
	if err != nil {
		return err.Error()
	}
	for obj := it.Next(); obj != nil; obj = it.Next() {
		fmt.Fprintln(sum, obj.(*member).id)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
