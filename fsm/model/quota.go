package model

// Quota is how much an organization may have and do. The rates hold at each node.
type Quota struct {
	Hosts             int `json:"hosts"`
	Applications      int `json:"applications"`
	Bytes             int `json:"bytes"`           // stored: rows and contents
	ChangesInFlight   int `json:"changesInFlight"` // changes of its hosts that are not done
	RequestsPerSecond int `json:"requestsPerSecond"`
	BytesPerSecond    int `json:"bytesPerSecond"` // of bodies and answers
}

// DefaultQuota is the quota of an organization that was given no other.
func DefaultQuota() Quota {
	return Quota{Hosts: 20_000, Applications: 2_000, Bytes: 8 << 30, ChangesInFlight: 200_000, RequestsPerSecond: 100_000, BytesPerSecond: 1 << 30}
}

// maxQuota bounds each number of a quota.
const maxQuota = 1 << 40

// Validate refuses numbers that nothing could keep to. The error is Invalid and names the field.
func (q Quota) Validate() error {
	for _, f := range []struct {
		name     string
		n, least int
	}{
		{"hosts", q.Hosts, 0}, {"applications", q.Applications, 0}, {"changesInFlight", q.ChangesInFlight, 0},
		{"bytes", q.Bytes, 1}, {"requestsPerSecond", q.RequestsPerSecond, 1}, {"bytesPerSecond", q.BytesPerSecond, 1},
	} {
		if f.n < f.least || f.n > maxQuota {
			return Errorf(Invalid, "%s: give a number from %d to %d, not %d", f.name, f.least, maxQuota, f.n)
		}
	}
	return nil
}

// QuotaRow is the quota of an organization for which the default is not right.
type QuotaRow struct {
	OrgID string `json:"orgId"`
	Quota Quota  `json:"quota"`
}

// Table names the table of quotas.
func (*QuotaRow) Table() string { return "quota" }

// Key is the organization's id.
func (q *QuotaRow) Key() string { return q.OrgID }

// Ranges: none.
func (*QuotaRow) Ranges() []string { return nil }

// Parent is the organization.
func (q *QuotaRow) Parent() (table, key string) { return "organization", q.OrgID }

// QuotaUse is the quota of an organization and what it has.
type QuotaUse struct {
	Organization string   `json:"organization"`
	Quota        Quota    `json:"quota"`
	Used         QuotaHas `json:"used"`
	Default      bool     `json:"default"` // it was given no quota of its own
}

// QuotaHas is how much an organization has of what a quota counts.
type QuotaHas struct {
	Hosts           int   `json:"hosts"`
	Applications    int   `json:"applications"`
	ChangesInFlight int   `json:"changesInFlight"`
	Bytes           int64 `json:"bytes"` // as this node knows it
}
