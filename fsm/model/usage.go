package model

import "time"

// UsageRow is how many bytes an organization stores, as a duty of the leader counts them.
type UsageRow struct {
	OrgID string    `json:"of"` // not orgId: the count is not counted itself
	Bytes int64     `json:"bytes"`
	Time  time.Time `json:"time"` // of the count
}

// Table names the table of counts.
func (*UsageRow) Table() string { return "usage" }

// Key is the organization's id.
func (u *UsageRow) Key() string { return u.OrgID }

// Ranges: all.
func (*UsageRow) Ranges() []string { return []string{AllUsage} }

// Parent: none; the row may outlive its organization until the next count.
func (*UsageRow) Parent() (table, key string) { return "", "" }

// AllUsage is the range of all counts.
const AllUsage = "all"
