// Package api is Muster's REST API: HTTP in gin, one wrapper around every handler, one mapping of errors
// to answers, and the route table of api/spec. It knows neither the cluster nor the bus: what it needs of
// them are the small interfaces below. See DESIGN.md.
package api

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// Store is where rows are read and written: a node of the cluster.
type Store interface {
	// Update commits what fn does, which may run many times. Errors of fn come back as they are.
	Update(ctx context.Context, fn func(tx *state.Tx) error) error
	// UpdateIndex is Update that also tells the index at which fn took effect, or that of the view if it wrote nothing.
	UpdateIndex(ctx context.Context, fn func(tx *state.Tx) error) (uint64, error)
	// View is the state, no older than the call.
	View(ctx context.Context) (*state.View, error)
	// Local is the state as this node has it, at once.
	Local() *state.View
}

// Cluster is what the API tells and asks the cluster about itself.
type Cluster interface {
	// Status is what this node knows of its cluster.
	Status(ctx context.Context) (spec.ClusterStatus, error)
	// Token makes a token that lets so many nodes join within the time given; 0 is any number.
	Token(ctx context.Context, expires time.Duration, uses int) (spec.JoinToken, error)
	// Tokens lists the join tokens, without their texts.
	Tokens(ctx context.Context) ([]spec.JoinToken, error)
	// RevokeToken makes a join token useless.
	RevokeToken(ctx context.Context, id string) error
	// Transfer makes another voter the leader, the one called to unless that is "".
	Transfer(ctx context.Context, to string) error
	// RotateClusterKey gives the cluster another key, and waits until all is wrapped with it.
	RotateClusterKey(ctx context.Context) error
	// RotateGossipKey gives the gossip another key, and waits until it is done.
	RotateGossipKey(ctx context.Context) error
	// Leave makes this node leave its cluster.
	Leave(ctx context.Context) error
	// Remove takes another member out of the cluster, also one that is dead.
	Remove(ctx context.Context, name string) error
	// Join makes this node, which must hold nothing but its first start, a member of another cluster.
	Join(ctx context.Context, address, token string) error
}

// Config is what New needs. Store and Log are required.
type Config struct {
	Store   Store
	Log     *slog.Logger
	Cluster Cluster                         // nil: the cluster's rows answer 501
	Ready   func(ctx context.Context) error // nil: always ready
	Leads   func() bool                     // whether this node leads, with an open term; nil: never
	// Snapshots gives and takes the whole state; nil: its rows answer 501.
	Snapshots Snapshots
	Timeout   time.Duration // of one request; default 30 s
	Root      string        // of the API's paths; default "/api"
	// PublicURL is the address of the root as clients reach it, for one-time addresses of files; "" is what the
	// request says.
	PublicURL string

	// Age bounds how old the local state may be, false when it is not known; nil: never known.
	Age func() (time.Duration, bool)
	// Stop ends the waits of clients when the server is about to stop; nil: they wait to their end.
	Stop context.Context

	// EnrolToken makes an enrolment token for a number of agents that ends at the time given, and the
	// text to hand out; nil: making one answers 501.
	EnrolToken func(tx *state.Tx, orgID, envID string, uses int, expires time.Time) (id, text string, err error)

	// Machines asks the drivers that make machines; nil: there are none, and provisioning is refused.
	Machines Machines

	// Hooks calls the webhooks that somebody runs; nil: running one answers 503.
	Hooks Hooks

	// Agents asks the agents of machines; nil: the rows that ask answer 501.
	Agents Agents

	// Origins are the pages of other hosts that browsers let use the API, like https://console.example.org; none by default.
	Origins []string

	// Login is how people log in.
	Login Login

	// MaxBody and MaxContent bound JSON bodies and uploaded contents in bytes; defaults 1 MiB and 8 MiB.
	MaxBody, MaxContent int64
}

// Server answers the API's requests. It is safe for concurrent use.
type Server struct {
	cfg       Config
	matcher   *spec.Matcher
	endpoints map[string]endpoint
	passwords *auth.Passwords
	guard     *auth.Guard
	uses      *uses
	secrets   *uses // readings of secrets that were recorded lately
	cross     *http.CrossOriginProtection

	origins     origins
	compressors *compressors
	docs        func() (*documentation, error)
	rates       *rates
	kept        *kept
	always      alwaysHeaders
	stamped     atomic.Pointer[stamp] // the last one
	engine      *gin.Engine
}

// alwaysHeaders are values of headers that every answer has. They are shared by all, and never changed.
type alwaysHeaders struct{ cache, sniff []string }

// New makes a server. The error says what the configuration lacks, or which built route has no handler.
func New(cfg Config) (*Server, error) {
	if cfg.Store == nil || cfg.Log == nil {
		return nil, errors.New("api: a store and a logger are needed")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Machines == nil {
		cfg.Machines = noMachines{}
	}
	if cfg.Root == "" {
		cfg.Root = "/api"
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 1 << 20
	}
	if cfg.MaxContent == 0 {
		cfg.MaxContent = 8 << 20
	}
	s := &Server{
		cfg: cfg, matcher: spec.NewMatcher(spec.Routes()), passwords: auth.NewPasswords(nil), guard: auth.NewGuard(), uses: newUses(), secrets: newUses(), rates: newRates(), kept: newKept(), always: alwaysHeaders{cache: []string{"no-store"}, sniff: []string{"nosniff"}},
		cross: http.NewCrossOriginProtection(), endpoints: endpoints(),
	}
	for _, r := range spec.Routes() {
		if _, ok := s.endpoints[r.Name]; r.State == spec.Built && !ok {
			return nil, errors.New("api: no handler for the built route " + r.Name)
		}
	}
	s.docs = sync.OnceValues(func() (*documentation, error) { return newDocumentation(cfg.Root) })
	var err error
	if s.origins, err = parseOrigins(cfg.Origins, s.cross); err != nil {
		return nil, err
	}
	if s.compressors, err = newCompressors(); err != nil {
		return nil, err
	}
	s.engine = s.router()
	return s, nil
}

// router sets gin up so that it never cleans or redirects: the published client fails on a redirect
// (contract section 1.1). All paths below the root are matched by the table itself.
func (s *Server) router() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.RedirectTrailingSlash = false
	e.RedirectFixedPath = false
	e.HandleMethodNotAllowed = false
	e.UseRawPath = true
	e.UnescapePathValues = false
	e.GET("/livez", func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	e.GET("/readyz", s.ready)
	e.GET("/leaderz", s.leads)
	e.NoRoute(s.serve)
	return e
}

func (s *Server) ready(c *gin.Context) {
	if s.cfg.Ready != nil {
		ctx, cancel := context.WithTimeout(c.Request.Context(), 3*time.Second)
		defer cancel()
		if err := s.cfg.Ready(ctx); err != nil {
			c.String(http.StatusServiceUnavailable, "not ready: %s\n", err)
			return
		}
	}
	c.String(http.StatusOK, "ok\n")
}

func (s *Server) leads(c *gin.Context) {
	if s.cfg.Leads == nil || !s.cfg.Leads() {
		c.String(http.StatusServiceUnavailable, "not the leader\n")
		return
	}
	c.String(http.StatusOK, "ok\n")
}

// Handler is the whole of it: the API below its root, /livez, /readyz and /leaderz, which need no login.
func (s *Server) Handler() http.Handler { return s.engine }

// NewHTTPServer makes a server around a handler with limits against slow and oversized clients. The
// caller listens, serves and shuts down.
func NewHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       2 * time.Minute,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// maxRequestID is how long the name of a request may be that its sender gave it.
const maxRequestID = 128

// requestID is how a request is named in its answer and in the log: as its sender named it, if that can stand in both.
func requestID(h http.Header) string {
	id := firstOf(h[spec.HeaderRequestID])
	odd := func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("._~:/+=-", r)
	}
	if id == "" || len(id) > maxRequestID || strings.ContainsFunc(id, odd) {
		return newRequestID()
	}
	return id
}

func newRequestID() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], rand.Uint64()) // it is a name, and no secret
	return hex.EncodeToString(b[:])
}

// notBuilt names a row that is not built yet.
func notBuilt(r spec.Route) error {
	return model.Errorf(model.Unimplemented, "%s is not built yet: %s %s", r.Name, r.Method, r.Shown())
}
