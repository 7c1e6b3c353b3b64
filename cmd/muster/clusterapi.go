package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/cluster"
	"github.com/muster-hq/muster/dispatch/wire"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// clusterAPI is what the REST API tells and asks the cluster.
type clusterAPI struct {
	m *server
	n *cluster.Node
}

// Status puts the node's status into the API's words.
func (c clusterAPI) Status(ctx context.Context) (spec.ClusterStatus, error) {
	st, err := c.n.Status(ctx)
	if err != nil {
		return spec.ClusterStatus{}, err
	}
	bus := "embedded hubs"
	if c.m.cfg.Bus != "" {
		bus = "broker"
	}
	out := spec.ClusterStatus{
		Node: st.Name, Cluster: st.ClusterID, Leader: st.Leader, Term: st.Term, Epoch: st.Epoch, Schema: st.Schema,
		Voters: st.Voters, Healthy: st.Healthy, Tolerance: st.FailureTolerance, Bus: bus, Backup: c.m.backup(),
		Unheard: len(orchestrate.OutOfStep(c.n.Local())),
	}
	out.Key = spec.ClusterKey{ID: st.Key.Active, Next: st.Key.Next, Rotating: st.Key.Rotating, Keys: st.Key.Keys, Behind: st.Key.Behind, Resealing: st.Key.Resealed, Sealed: st.Key.Sealed}
	for _, m := range st.Members {
		out.Members = append(out.Members, clusterMember(m))
	}
	return out, nil
}

func clusterMember(m cluster.MemberStatus) spec.ClusterMember {
	s := "follower"
	switch {
	case m.Leader:
		s = "leader"
	case !m.Alive:
		s = "unreachable"
	}
	out := spec.ClusterMember{
		Name: m.Name, Address: m.ClusterAddr, API: m.APIAddr, State: s, Voter: m.Voter, Healthy: m.Healthy, Problem: m.Error,
		Version: m.Version, Schema: m.Schema, Applied: m.Applied, Lag: m.Lag, LastContact: m.LastContactMs, LogStore: m.LogStore,
		SnapshotIndex: m.SnapshotIndex, SnapshotAge: m.SnapshotAge.Milliseconds(), DiskFree: m.DiskFree, DiskTotal: m.DiskTotal, Bus: m.Detail,
	}
	if !m.CertExpires.IsZero() {
		out.CertExpires = m.CertExpires.UTC().Format(time.RFC3339)
	}
	return out
}

// Token makes a join token.
func (c clusterAPI) Token(ctx context.Context, expires time.Duration, uses int) (spec.JoinToken, error) {
	text, tok, err := c.n.NewJoinToken(ctx, cluster.TokenOptions{Life: expires, Uses: uses})
	if err != nil {
		return spec.JoinToken{}, err
	}
	out := joinToken(tok)
	out.Token = text
	return out, nil
}

// Tokens lists the join tokens.
func (c clusterAPI) Tokens(ctx context.Context) ([]spec.JoinToken, error) {
	tokens, err := c.n.JoinTokens(ctx)
	out := []spec.JoinToken{}
	for _, t := range tokens {
		out = append(out, joinToken(t))
	}
	return out, err
}

func joinToken(t cluster.JoinToken) spec.JoinToken {
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	return spec.JoinToken{ID: t.ID, Created: at(t.Created), Expires: at(t.Expires), Revoked: at(t.Revoked), Uses: t.Uses, Used: t.Used}
}

// RevokeToken makes a join token useless.
func (c clusterAPI) RevokeToken(ctx context.Context, id string) error {
	return c.n.RevokeJoinToken(ctx, id)
}

// Transfer hands leadership over.
func (c clusterAPI) Transfer(ctx context.Context, to string) error {
	return c.n.TransferLeadership(ctx, to)
}

// RotateClusterKey gives the cluster another key.
func (c clusterAPI) RotateClusterKey(ctx context.Context) error { return c.n.RotateClusterKey(ctx) }

// RotateGossipKey gives the gossip another key.
func (c clusterAPI) RotateGossipKey(ctx context.Context) error { return c.n.RotateGossipKey(ctx) }

// Remove takes another member out. Removing this one is leaving, which ends it too.
func (c clusterAPI) Remove(ctx context.Context, name string) error {
	if name == c.n.Name() {
		return model.Errorf(model.Conflict, "%s is the node that you asked: use muster cluster leave, or ask another node", name)
	}
	return c.n.Remove(ctx, name)
}

// Leave makes this node leave, and ends it.
func (c clusterAPI) Leave(ctx context.Context) error {
	if err := c.n.Leave(ctx); err != nil {
		return err
	}
	c.m.cfg.markLeft(c.m.log)
	c.m.end(errLeft)
	return nil
}

// markLeft notes in the folder that its node is no member any more.
func (c serverConfig) markLeft(log *slog.Logger) {
	if err := writeSecret(c.leftFile(), time.Now().UTC().Format(time.RFC3339)+"\n"); err != nil {
		log.Warn("the folder could not be marked as one that left its cluster", "error", err)
	}
}

// errLeft ends a server that left its cluster: done, not failed.
var errLeft = errors.New("left the cluster")

// Join makes this server, which must hold nothing but its first start, a member of another cluster. When
// that fails the server goes on as it was.
func (c clusterAPI) Join(ctx context.Context, address, token string) error {
	view, err := c.n.View(ctx)
	if err != nil {
		return err
	}
	if err := pristine(view, c.n.Members()); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return model.Errorf(model.Invalid, "address %q is not a member's cluster address like 10.0.0.1:8001", address)
	}
	ctx, cancel := context.WithTimeout(ctx, joinLimit)
	defer cancel()
	defer context.AfterFunc(c.m.run, cancel)()
	err = c.m.rejoin(ctx, c.n, cluster.Bootstrap{Join: []string{address}, Token: token})
	if err == nil || model.CodeOf(err) == model.Conflict {
		return err
	}
	// What the other cluster says of the token is not about who asks here.
	return model.Errorf(model.Invalid, "this server did not join, and goes on as before: %s", err)
}

// joinLimit is how long the other cluster may take to answer; less than a client waits for the answer.
const joinLimit = 20 * time.Second

// pristine refuses what would be lost by joining another cluster.
func pristine(r state.Reader, members []cluster.Member) error {
	const how = "; only a server that holds nothing but its first start can join another cluster: empty its data folder, and start it with --join"
	switch {
	case len(members) > 1:
		return model.Errorf(model.Conflict, "this server is a member of a cluster of %d nodes%s", len(members), how)
	case len(orchestrate.Organizations(r)) > 0:
		return model.Errorf(model.Conflict, "this server holds %d organization(s)%s", len(orchestrate.Organizations(r)), how)
	case len(orchestrate.Users(r)) > 1:
		return model.Errorf(model.Conflict, "this server holds %d users%s", len(orchestrate.Users(r)), how)
	}
	return nil
}

// asideDir keeps what was before a join until the join has succeeded.
func (c serverConfig) asideDir() string { return c.clusterDir() + ".before-join" }

// dropAside removes what was before a join, and the password of an administrator that is no more.
func (c serverConfig) dropAside() error {
	err := os.Remove(c.passwordFile())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err = errors.Join(os.RemoveAll(c.asideDir()), err); err != nil {
		return fmt.Errorf("remove what was before the join: %w", err)
	}
	return nil
}

// rejoin exchanges the core, whose node is old, for one in another cluster. The old one's folder is kept aside
// until the new one stands, and taken back when it does not.
func (m *server) rejoin(ctx context.Context, old *cluster.Node, boot cluster.Bootstrap) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.core == nil || m.core.cluster != old {
		return model.Errorf(model.Conflict, "this server has joined a cluster meanwhile: see `muster cluster status`")
	}
	m.handler.Store(notReady())
	if err := m.core.shutdown(ctx); err != nil {
		m.log.Warn("while leaving the cluster of one", "error", err)
	}
	m.core = nil
	// What was acknowledged until the old node stopped is in its memory still.
	if err := pristine(old.Local(), old.Members()); err != nil {
		return errors.Join(err, m.reopen(ctx))
	}
	dir, aside := m.cfg.clusterDir(), m.cfg.asideDir()
	if err := os.Rename(dir, aside); err != nil {
		return errors.Join(fmt.Errorf("put the old state aside: %w", err), m.reopen(ctx))
	}
	err := m.listenBus()
	if err == nil {
		m.core, err = m.openCore(ctx, boot)
	}
	if err != nil {
		if back := errors.Join(os.RemoveAll(dir), os.Rename(aside, dir)); back != nil {
			m.end(back)
			return errors.Join(err, back)
		}
		return errors.Join(err, m.reopen(ctx))
	}
	if err := m.cfg.dropAside(); err != nil {
		m.log.Warn("what was before the join is still there", "error", err)
	}
	return nil
}

// reopen goes on as before a join that failed; a server that cannot ends.
func (m *server) reopen(ctx context.Context) error {
	err := m.listenBus()
	if err == nil {
		m.core, err = m.openCore(context.WithoutCancel(ctx), cluster.Bootstrap{})
	}
	if err != nil {
		err = fmt.Errorf("go on as before the failed join: %w", err)
		m.end(err)
	}
	return err
}

// enrolTokens makes the texts of enrolment tokens: the private half is in the text only. ca is the digest of
// the CA that they pin, "" for none.
type enrolTokens struct{ ca string }

// CreateEnrolToken makes a token of an environment.
func (e enrolTokens) CreateEnrolToken(tx *state.Tx, orgID, envID string, uses int, expires time.Time) (id, text string, err error) {
	org, err := orchestrate.OrganizationByID(tx, orgID)
	if err != nil {
		return "", "", err
	}
	env, ok := state.Get[model.EnvironmentRow](tx, envID)
	if !ok {
		return "", "", model.Errorf(model.NotFound, "environment not found")
	}
	key, err := orchestrate.SigningKey(tx, orgID)
	if err != nil {
		return "", "", err
	}
	var raw [ed25519.SeedSize + 8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", "", err
	}
	t := wire.EnrolToken{
		ID: hex.EncodeToString(raw[ed25519.SeedSize:]), Seed: raw[:ed25519.SeedSize], CA: e.ca,
		Key: key.Public().(ed25519.PublicKey), Organization: org.Name, Environment: env.Name,
	}
	if _, err := orchestrate.CreateEnrolToken(tx, envID, t.ID, t.PrivateKey().Public().(ed25519.PublicKey), uses, expires, tx.Actor()); err != nil {
		return "", "", err
	}
	return t.ID, t.String(), nil
}

// MachineToken is the text of the token with which the agent of an instance enrols.
func (e enrolTokens) MachineToken(r state.Reader, i *model.InstanceRow) (string, error) {
	key, err := orchestrate.SigningKey(r, i.OrgID)
	if err != nil {
		return "", err
	}
	id, seed, err := orchestrate.MachineToken(r, i.OrgID, i.ID)
	if err != nil {
		return "", err
	}
	t := wire.EnrolToken{ID: id, Seed: seed, CA: e.ca, Key: key.Public().(ed25519.PublicKey)}
	if doc, err := orchestrate.GetInstance(r, i.OrgID, i.HostID); err == nil {
		t.Organization, t.Environment = doc.Organization, doc.Environment
	}
	return t.String(), nil
}
