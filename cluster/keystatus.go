package cluster

import (
	"time"

	"github.com/muster-hq/muster/fsm/seal"
	"github.com/muster-hq/muster/fsm/state"
)

// KeyStatus is which key of the cluster is in use, and how far a rotation is.
type KeyStatus struct {
	Active   string    `json:"active,omitempty"` // id; "" before there is one
	Since    time.Time `json:"since,omitzero"`
	Next     string    `json:"next,omitempty"` // id of the one that the members are getting
	Rotating bool      `json:"rotating"`
	Keys     int       `json:"keys"`      // keys of organizations and of the site
	Behind   int       `json:"behind"`    // of these, not wrapped with the one in use
	Resealed int       `json:"resealing"` // of these, have an older version, as their rows are being sealed anew
	Sealed   bool      `json:"sealed"`    // nothing that is to be sealed is in clear any more
}

func keyStatusOf(r state.Reader) KeyStatus {
	k := state.ClusterKeysOf(r)
	s := KeyStatus{Active: k.Active, Since: k.Since, Next: k.Next, Sealed: k.Form >= state.SealedForm && !k.Sealing}
	for _, d := range state.AllDataKeys(r) {
		s.Keys++
		if d.Each(func(w seal.Wrapped, _ string) error { return wrappedBy(w, k.Active) }) != nil {
			s.Behind++
		}
		if len(d.Versions) > 1 {
			s.Resealed++
		}
	}
	s.Rotating = k.Asked || k.Next != "" || s.Behind > 0
	return s
}
