package model

// SealKey tells of the key that an organization's secrets are sealed with at rest. It is never shown itself.
type SealKey struct {
	ID         string `json:"id"`         // "" before something was stored sealed
	Created    string `json:"created"`    // a time
	ClusterKey string `json:"clusterKey"` // id of the cluster key that it is wrapped with
	Rotating   bool   `json:"rotating"`   // what was sealed with the one before is being sealed anew
}
