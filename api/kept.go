package api

import (
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"net/url"
	"time"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// The bounds of what is kept, in bytes, and of what one thing may have been made from, in names of rows and ranges.
const (
	keptAnswers = 32 << 20
	keptCallers = 1 << 20
	keptTargets = 4 << 20
	answerBasis = 20_000
	callerBasis = 100
)

// kept is what this node has made and may use again: who sent certain credentials, and answers. Both know from which rows
// they were made, and are used only while the view that a request reads would show the same rows. It is safe for
// concurrent use.
type kept struct {
	secret  [32]byte
	callers *generations[[sha256.Size]byte, *keptCaller]
	answers *generations[answerKey, *keptAnswer]
	targets *generations[targetKey, *target]
	may     map[string]bool // routes whose answers may be kept
}

func newKept() *kept {
	k := &kept{callers: newGenerations[[sha256.Size]byte, *keptCaller](keptCallers), answers: newGenerations[answerKey, *keptAnswer](keptAnswers),
		targets: newGenerations[targetKey, *target](keptTargets), may: map[string]bool{}}
	_, _ = rand.Read(k.secret[:]) // never fails: crypto/rand ends the program instead
	for _, noun := range []string{"organizations", "environments", "hosts", "host.applications", "applications", "platforms", "distributions", "hostgroups", "settings"} {
		k.may[noun+".list"], k.may[noun+".show"] = true, true
	}
	return k
}

// keptCaller is who sent certain credentials.
type keptCaller struct {
	caller caller
	basis  *state.Basis
	until  time.Time // when the password must be computed again; zero for keys
}

// credentialsID names the credentials of a request by a keyed hash; false for those that are not remembered. Which header
// counts is as FromRequest has it.
func (k *kept) credentialsID(h http.Header) (id [sha256.Size]byte, ok bool) {
	kind, text := byte('k'), firstOf(h[appKeyName])
	if text == "" {
		if kind, text = 'b', firstOf(h["Authorization"]); firstOf(h[jwtName]) != "" {
			return id, false
		}
	}
	if text == "" || len(text) > 256 {
		return id, false
	}
	var room [sha256.Size + 1 + 256]byte
	b := append(append(append(room[:0], k.secret[:]...), kind), text...)
	return sha256.Sum256(b), true
}

// The names of the contract's headers as net/http keeps them: to find that out for each request costs more than the look.
const appKeyName, jwtName = "X-Comodit-Appkey", "X-Comodit-Jwttoken"

func firstOf(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// recall finds the caller by credentials that were verified before, and the view to go on with; nil where they must be
// verified now.
func (s *Server) recall(c *call, local *state.View, id [sha256.Size]byte) (*state.View, error) {
	known, ok := s.kept.callers.get(id)
	if !ok {
		return nil, nil
	}
	view := local
	if s.wantsNewest(c) {
		var err error
		if view, err = s.cfg.Store.View(c.req.Context()); err != nil {
			return nil, err
		}
	}
	key := known.caller.key
	if !known.until.IsZero() && !time.Now().Before(known.until) || key != nil && !key.Expires.IsZero() && !view.Now().Before(key.Expires) ||
		!known.basis.Holds(view) {
		s.kept.callers.drop(id)
		return nil, nil
	}
	c.caller = known.caller
	s.noteUse(c, view)
	return view, nil
}

// remember keeps who sent credentials that were just verified through a watched view.
func (s *Server) remember(id [sha256.Size]byte, c caller, ws *state.WatchSet, until time.Time) {
	if c.codes || c.session != nil || c.key == nil && until.IsZero() {
		return
	}
	// Time may only end what a key is good for, which recall looks at.
	if basis, _ := ws.Basis(callerBasis); basis != nil {
		s.kept.callers.put(id, &keptCaller{caller: c, basis: basis, until: until}, basis.Size()+256)
	}
}

// answerKey is all that an answer depends on beside rows. The rows of the caller never change: another user, right of the
// site or group of a key is another row.
type answerKey struct {
	path, raw, query string
	user             *model.UserRow
	key              *model.ApplicationKeyRow
}

func (c *call) answerKey() answerKey {
	u := c.req.URL
	return answerKey{u.Path, u.RawPath, u.RawQuery, c.caller.user, c.caller.key}
}

// targetKey is all that the target of a request is read from.
type targetKey struct{ method, path, raw, query string }

func (c *call) targetKey() targetKey {
	u := c.req.URL
	return targetKey{c.req.Method, u.Path, u.RawPath, u.RawQuery}
}

// target is what a path and a query mean. It is shared, and never changed. Only those of kept answers are kept: what nobody
// may ask for fills no memory.
type target struct {
	route  spec.Route
	params map[string]string
	segs   []string
	query  url.Values
}

// keptAnswer is an answer that shows no secret.
type keptAnswer struct {
	answer reply
	org    string // whose quota the request counts in
	quota  model.Quota
	basis  *state.Basis
}

// read is look, for whoever does not wait: an answer that this node has made before for the same caller is given again
// while nothing has changed that it was made from. Quotas are charged all the same. Whatever shows a secret in clear is
// never kept: each reading of it is looked at anew, and recorded. Neither are refusals.
func (c *call) read(view *state.View, end endpoint) (reply, *lookError) {
	k := c.srv.kept
	if !k.may[c.route.Name] || c.masked || c.query.Has("index") || c.query.Has("wait") {
		return c.look(view, end)
	}
	if had, ok := k.answers.get(c.answerKey()); ok && had.basis.Holds(view) {
		if had.org != "" {
			if err := c.chargeTo(had.org, had.quota); err != nil {
				return reply{}, &lookError{err: err}
			}
		}
		c.stamp(view.Epoch(), view.Index())
		return had.answer, nil
	}
	ws := state.NewWatchSet()
	c.keeps = true
	answer, bad := c.look(view.Watched(ws), end)
	if c.keeps = false; bad != nil || c.clear || answer.status != http.StatusOK || answer.kind != kindJSON {
		return answer, bad
	}
	basis, timed := ws.Basis(answerBasis)
	if basis == nil || timed {
		return answer, nil
	}
	had := &keptAnswer{answer: answer, basis: basis, org: c.charged}
	if had.org != "" {
		had.quota = orchestrate.QuotaOf(view, had.org)
	}
	key := c.answerKey()
	to := c.targetKey()
	k.targets.put(to, &target{c.route, c.params, c.segs, c.query}, 2*(len(to.path)+len(to.raw)+len(to.query))+1024)
	k.answers.put(key, had, len(answer.body)+basis.Size()+len(key.path)+len(key.raw)+len(key.query)+512)
	return answer, nil
}
