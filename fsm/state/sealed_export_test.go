package state

// PutRawForTest puts a row as it is stored.
func PutRawForTest(tx *Tx, r RawRow) error {
	return tx.put(&record{table: r.Table, key: r.Key, ranges: r.Ranges, value: r.Value}, "", "", nil)
}
