package model

import "time"

// Attachment is what is kept alike of the platform context and the distribution context of a host. It is embedded in
// their rows; a host has at most one of each.
type Attachment struct {
	ID      string `json:"id"`
	OrgID   string `json:"orgId"`
	HostID  string `json:"hostId"`
	OfID    string `json:"ofId"` // the platform or distribution
	Version int    `json:"version"`
}

// Base is the attachment itself, whatever row it is embedded in.
func (a *Attachment) Base() *Attachment { return a }

// Key is the context's id.
func (a *Attachment) Key() string { return a.ID }

// Ranges: the one of the host, and those of the platform or distribution.
func (a *Attachment) Ranges() []string { return []string{AttachedTo(a.HostID), AttachmentsOf(a.OfID)} }

// Parent is the host.
func (a *Attachment) Parent() (table, key string) { return "host", a.HostID }

// AttachedTo is the unique range of a host's platform context, and in its table of the distribution context.
func AttachedTo(hostID string) string { return "host/" + hostID }

// AttachmentsOf is the range of the contexts of a platform or distribution.
func AttachmentsOf(id string) string { return "of/" + id }

// PlatformContextRow is the platform of a host.
type PlatformContextRow struct{ Attachment }

// Table names the table of platform contexts.
func (*PlatformContextRow) Table() string { return string(LevelPlatformContext) }

// DistributionContextRow is the distribution of a host.
type DistributionContextRow struct{ Attachment }

// Table names the table of distribution contexts.
func (*DistributionContextRow) Table() string { return string(LevelDistributionContext) }

// PlatformContext is the document of a host's platform (contract section 3.3).
type PlatformContext struct {
	UUID         string    `json:"uuid,omitempty"`
	Version      int       `json:"version,omitempty"`
	Platform     string    `json:"platform"`
	Settings     []Setting `json:"settings"`
	Organization string    `json:"organization"`
	Environment  string    `json:"environment"`
	Host         string    `json:"host"`
}

// DistributionContext is the document of a host's distribution (contract section 3.3).
type DistributionContext struct {
	UUID         string    `json:"uuid,omitempty"`
	Version      int       `json:"version,omitempty"`
	Distribution string    `json:"distribution"`
	Settings     []Setting `json:"settings"`
	Organization string    `json:"organization"`
	Environment  string    `json:"environment"`
	Host         string    `json:"host"`
}

// FileLinkRow is a one-time address of a rendered file. It is deleted when it is used.
type FileLinkRow struct {
	Digest  string    `json:"digest"` // HashSecret of the token in the address, which is kept nowhere
	OrgID   string    `json:"orgId"`
	HostID  string    `json:"hostId"`
	Owner   Owner     `json:"owner"` // the context whose file it is
	File    string    `json:"file"`  // its name at that time
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
	Actor   string    `json:"actor"` // who asked for it
}

// Table names the table of one-time addresses.
func (*FileLinkRow) Table() string { return "filelink" }

// Key is the digest of the token.
func (l *FileLinkRow) Key() string { return l.Digest }

// Ranges: those of the host.
func (l *FileLinkRow) Ranges() []string { return []string{FileLinksOf(l.HostID)} }

// Parent is the host.
func (l *FileLinkRow) Parent() (table, key string) { return "host", l.HostID }

// FileLinksOf is the range of a host's one-time addresses.
func FileLinksOf(hostID string) string { return "host/" + hostID }
