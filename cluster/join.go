package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/cluster/pki"
	"github.com/muster-hq/muster/cluster/transport"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/seal"
	"github.com/muster-hq/muster/fsm/state"
)

const tokenPrefix = "muster-join-1."

// token is the content of a join token.
type token struct {
	ID     string   `json:"id"`
	Secret []byte   `json:"secret"`
	CA     string   `json:"ca"` // fingerprint of the cluster's authority
	Addrs  []string `json:"addrs"`
}

func (t token) encode() (string, error) {
	b, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("encoding a join token: %w", err)
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b), nil
}

var errToken = model.Errorf(model.Invalid, "this is no join token: it must be the one line that `muster cluster token` printed, which begins with %q", tokenPrefix)

func decodeToken(text string) (token, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), tokenPrefix)
	if !ok {
		return token{}, errToken
	}
	b, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil {
		return token{}, errToken
	}
	var t token
	if err := json.Unmarshal(b, &t); err != nil {
		return token{}, errToken
	}
	if fp, err := hex.DecodeString(t.CA); err != nil || len(fp) != sha256.Size || t.ID == "" || len(t.Secret) == 0 {
		return token{}, errToken
	}
	return t, nil
}

// joinRequest is what a joiner sends; joinAnswer what it gets: an error's code and text, or the rest.
type joinRequest struct {
	Token  string `json:"token"` // id
	Secret []byte `json:"secret"`
	CSR    []byte `json:"csr"`
	Member Member `json:"member"`
}

type joinAnswer struct {
	Code      model.Code `json:"code,omitempty"`
	Error     string     `json:"error,omitempty"`
	Cert      []byte     `json:"cert,omitempty"`
	CA        []byte     `json:"ca,omitempty"` // PEM
	GossipKey []byte     `json:"gossipKey,omitempty"`
	Keys      []byte     `json:"keys,omitempty"` // the cluster's, as in their file
	Peers     []peerAddr `json:"peers,omitempty"`
}

// maxJoin bounds a message of joining, in bytes.
const maxJoin = 64 << 10

func writeJoin(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding a join message: %w", err)
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

func readJoin(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return fmt.Errorf("reading a join message: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxJoin {
		return fmt.Errorf("a join message of %d bytes: %w", n, errFrame)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("reading a join message: %w", err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("a join message: %w: %w", errFrame, err)
	}
	return nil
}

// joinPatience is how long a joiner may take to send what it asks; anyone may connect as one.
const joinPatience = 5 * time.Second

// serveJoin answers joiners, a few at a time.
func (n *Node) serveJoin(ctx context.Context) {
	ln := n.mux.Listener(transport.Join)
	slots := make(chan struct{}, 8)
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = c.Close()
			continue
		}
		n.spawn(func() {
			defer func() { _ = c.Close(); <-slots }()
			_ = c.SetDeadline(time.Now().Add(n.cfg.Timing.Deadline))
			_ = c.SetReadDeadline(time.Now().Add(joinPatience))
			var req joinRequest
			if err := readJoin(c, &req); err != nil {
				n.log.Debug("a joiner sent what cannot be read", "remote", c.RemoteAddr().String(), "error", err)
				return
			}
			jctx, cancel := context.WithTimeout(ctx, n.cfg.Timing.Deadline*3/4)
			defer cancel()
			ans, err := n.admit(jctx, req)
			if err != nil {
				n.log.Warn("a node was not taken in", "member", req.Member.Name, "remote", c.RemoteAddr().String(), "error", err)
				ans = &joinAnswer{Code: model.CodeOf(err), Error: err.Error()}
			}
			if err := writeJoin(c, ans); err != nil {
				n.log.Warn("a joiner did not get its answer", "member", req.Member.Name, "error", err)
			}
		})
	}
}

// admit checks a joiner's token, writes its row and signs its certificate. The leader gives it its vote later,
// when it runs.
func (n *Node) admit(ctx context.Context, req joinRequest) (*joinAnswer, error) {
	m := req.Member
	if err := validName(m.Name); err != nil {
		return nil, model.Errorf(model.Invalid, "%v", err)
	}
	if _, _, err := net.SplitHostPort(m.ClusterAddr); err != nil {
		return nil, model.Errorf(model.Invalid, "the cluster address %q: %v", m.ClusterAddr, err)
	}
	ans, ca := &joinAnswer{}, (*pki.Authority)(nil)
	err := n.Update(ctx, func(tx *state.Tx) (err error) {
		if err := useToken(tx, req); err != nil {
			return err
		}
		if err := tooOld(tx, &m); err != nil {
			return err
		}
		if ca, ans.GossipKey, err = authority(tx); err != nil {
			return err
		}
		if _, ok := state.Get[Member](tx, m.Name); ok && n.votes(m.Name) {
			return model.Errorf(model.Conflict, "a member called %s exists: choose another name, or remove that one first (muster cluster remove %s)", m.Name, m.Name)
		}
		ans.Peers = nil
		for _, p := range state.List[Member](tx, everyMember) {
			if p.Name != m.Name && p.ClusterAddr == m.ClusterAddr {
				return model.Errorf(model.Conflict, "the cluster address %s is that of the member %s", m.ClusterAddr, p.Name)
			}
			ans.Peers = append(ans.Peers, peerAddr{Name: p.Name, Cluster: p.ClusterAddr, Gossip: p.GossipAddr})
		}
		if old, ok := state.Get[Member](tx, m.Name); ok && old.Instance != m.Instance { // it never got as far as its vote
			if err := state.Put(tx, formerOf(old, tx.Now())); err != nil {
				return err
			}
		}
		m.Joined = tx.Now()
		return state.Put(tx, &m)
	})
	if err != nil {
		return nil, err
	}
	if ans.Cert, err = ca.Sign(req.CSR, pki.Subject{Name: m.Name, Instance: m.Instance, Life: n.cfg.CertLife}, n.now()); err != nil {
		return nil, err
	}
	ans.CA = ca.CertPEM()
	if len(n.keys.ring.IDs()) > 0 {
		ans.Keys = n.keys.ring.Text()
	}
	n.nudge()
	return ans, nil
}

func (n *Node) votes(name string) bool {
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if string(s.ID) == name && s.Suffrage == raft.Voter {
			return true
		}
	}
	return false
}

// authority reads the cluster's authority and the gossip key. The code is Unavailable while this node lacks the cluster's
// key, and before there is an authority in the state.
func authority(r state.Reader) (ca *pki.Authority, gossip []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			bad, ok := state.Unreadable(p)
			if !ok {
				panic(p)
			}
			ca, gossip, err = nil, nil, bad
		}
	}()
	cert, ok1 := state.Get[secret](r, secretCA)
	key, ok2 := state.Get[secret](r, secretCAKey)
	gossipKey, ok3 := state.Get[secret](r, secretGossip)
	if !ok1 || !ok2 || !ok3 {
		return nil, nil, model.Errorf(model.Unavailable, "the cluster is still beginning; try again in a moment")
	}
	ca, err = pki.ParseAuthority(cert.Value, key.Value)
	return ca, gossipKey.Value, err
}

// join gets a node's identity from a cluster. Nothing is written here.
func join(ctx context.Context, cfg Config, self peerAddr, instance string) (*booted, error) {
	t, err := decodeToken(cfg.Bootstrap.Token)
	if err != nil {
		return nil, err
	}
	addrs := cfg.Bootstrap.Join
	if len(addrs) == 0 {
		addrs = t.Addrs
	}
	req, err := pki.NewRequest(cfg.Name)
	if err != nil {
		return nil, err
	}
	body := joinRequest{Token: t.ID, Secret: t.Secret, CSR: req.CSR, Member: Member{
		Name: cfg.Name, Instance: instance, ClusterAddr: self.Cluster, APIAddr: cfg.APIAddr, Version: cfg.Version, Schema: cfg.Schema,
	}}
	ctx, cancel := context.WithTimeout(ctx, 2*cfg.Timing.Deadline)
	defer cancel()
	for {
		var errs []error
		for _, addr := range addrs {
			ans, err := joinAt(ctx, cfg, addr, t.CA, body)
			if err == nil {
				return ans.booted(cfg.Name, req)
			}
			var me *model.Error
			if errors.As(err, &me) && me.Code != model.Unavailable || errors.Is(err, pki.ErrForeign) {
				return nil, fmt.Errorf("joining the cluster at %s: %w", addr, err)
			}
			errs = append(errs, fmt.Errorf("%s: %w", addr, err))
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("joining the cluster: no member answered: %w", errors.Join(errs...))
		}
	}
}

func joinAt(ctx context.Context, cfg Config, addr, fingerprint string, req joinRequest) (*joinAnswer, error) {
	c, err := transport.DialJoin(ctx, addr, fingerprint, cfg.Transport)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(cfg.Timing.Deadline)); err != nil {
		return nil, fmt.Errorf("setting a deadline: %w", err)
	}
	if err := writeJoin(c, req); err != nil {
		return nil, err
	}
	var ans joinAnswer
	if err := readJoin(c, &ans); err != nil {
		return nil, err
	}
	if ans.Code != "" {
		return nil, model.Errorf(ans.Code, "%s", ans.Error)
	}
	return &ans, nil
}

func (a *joinAnswer) booted(name string, req *pki.Request) (*booted, error) {
	ca, err := pki.ParseCert(a.CA)
	if err != nil {
		return nil, fmt.Errorf("the cluster's authority: %w", err)
	}
	b := &booted{record: record{Node: name, Mode: modeJoin, Peers: a.Peers}, gossipKey: a.GossipKey, peers: a.Peers}
	if len(a.Keys) > 0 {
		if b.given, err = seal.ParseKeyring(a.Keys); err != nil {
			return nil, fmt.Errorf("the cluster's keys: %w", err)
		}
	}
	b.id, err = req.Identity(a.Cert, ca)
	return b, err
}

func (n *Node) pkiDir() string { return filepath.Join(n.cfg.DataDir, "pki") }

func (n *Node) gossipKey() ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(n.pkiDir(), gossipKeyFile))
	if err != nil {
		return nil, fmt.Errorf("reading the gossip key: %w", err)
	}
	return b, nil
}
