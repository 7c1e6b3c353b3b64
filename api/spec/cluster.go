package spec

// ClusterStatus is what a node knows of its cluster. Durations are in milliseconds, sizes in bytes.
type ClusterStatus struct {
	Node      string          `json:"node"` // who answers
	Cluster   string          `json:"cluster"`
	Leader    string          `json:"leader"`
	Term      uint64          `json:"term"`
	Epoch     uint64          `json:"epoch"`
	Schema    int             `json:"schema"`
	Voters    int             `json:"voters"`
	Healthy   bool            `json:"healthy"`          // there is a leader, and every voter is healthy
	Tolerance int             `json:"failureTolerance"` // voters that may be lost with the rest still working
	Bus       string          `json:"bus"`
	Unheard   int             `json:"agentsUnheard,omitempty"` // agents that have not told what they did before a restore; their hosts get no orders
	Backup    *Backup         `json:"backup,omitempty"`        // the last scheduled snapshot of the node that answers
	Key       ClusterKey      `json:"key"`
	Members   []ClusterMember `json:"members"`
}

// ClusterKey is which key of the cluster is in use, and how far a rotation is. It names keys by ids.
type ClusterKey struct {
	ID        string `json:"id"`             // "" before there is one: then nothing is sealed yet
	Next      string `json:"next,omitempty"` // that the members are getting
	Rotating  bool   `json:"rotating"`
	Keys      int    `json:"keys"`      // of organizations and of the site
	Behind    int    `json:"behind"`    // of these, not yet wrapped with the one in use
	Resealing int    `json:"resealing"` // of these, are being rotated themselves
	Sealed    bool   `json:"sealed"`    // nothing that is to be encrypted where it is stored is in clear any more
}

// ClusterMember is one node of a cluster. What it tells of itself is absent while it does not answer.
type ClusterMember struct {
	Name          string `json:"name"`
	Address       string `json:"address"`
	API           string `json:"api,omitempty"`
	State         string `json:"state"` // leader, follower, unreachable
	Voter         bool   `json:"voter"`
	Healthy       bool   `json:"healthy"`
	Problem       string `json:"problem,omitempty"` // why it is not healthy
	Version       string `json:"version,omitempty"`
	Schema        int    `json:"schema,omitempty"` // the highest that it knows
	Applied       uint64 `json:"applied"`
	Lag           uint64 `json:"lag"` // entries behind the furthest
	LastContact   int64  `json:"lastContactMs"`
	LogStore      string `json:"logStore,omitempty"`
	SnapshotIndex uint64 `json:"snapshotIndex"` // of its newest; 0 none
	SnapshotAge   int64  `json:"snapshotAgeMs,omitempty"`
	DiskFree      int64  `json:"diskFree,omitempty"`
	DiskTotal     int64  `json:"diskTotal,omitempty"`
	CertExpires   string `json:"certificateExpires,omitempty"`
	Bus           string `json:"bus,omitempty"` // what its own hub says
}

// JoinTokenRequest is the body that makes a join token.
type JoinTokenRequest struct {
	Expires string `json:"expires"`        // from now; default "1h"
	Uses    *int   `json:"uses,omitempty"` // how many nodes may join with it; default 1, 0 is any number
}

// JoinToken lets nodes join. Token is in the answer of its making only.
type JoinToken struct {
	ID      string `json:"id"`
	Token   string `json:"token,omitempty"`
	Created string `json:"created,omitempty"`
	Expires string `json:"expires"`
	Revoked string `json:"revoked,omitempty"`
	Uses    int    `json:"uses"` // 0 is any number
	Used    int    `json:"used"`
}

// LeaderRequest hands leadership over; To is a voter's name, "" is any.
type LeaderRequest struct {
	To string `json:"to"`
}
