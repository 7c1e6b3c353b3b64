package model

// UsageRow is what an earlier version wrote down of the bytes of an organization. Nothing writes or reads it any more; it goes with
// its organization.
type UsageRow struct {
	OrgID string `json:"of"`
}

// Table names the table.
func (*UsageRow) Table() string { return "usage" }

// Key is the organization's id.
func (u *UsageRow) Key() string { return u.OrgID }

// Ranges: all.
func (*UsageRow) Ranges() []string { return []string{AllUsage} }

// Parent: none.
func (*UsageRow) Parent() (table, key string) { return "", "" }

// AllUsage is the range of all counts.
const AllUsage = "all"
