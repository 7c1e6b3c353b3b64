package api

import (
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

func quotaEndpoints() map[string]endpoint {
	return map[string]endpoint{
		"quota.show": reading(auth.Read, func(_ *call, r state.Reader, at scope) (any, error) {
			return orchestrate.QuotaDoc(r, at.org), nil
		}),
		"quotas.list": {site: true, read: func(_ *call, r state.Reader, _ scope) (any, error) {
			docs := []model.QuotaUse{}
			for _, o := range orchestrate.Organizations(r) {
				docs = append(docs, orchestrate.QuotaDoc(r, o))
			}
			return list(docs), nil
		}},
		"quotas.show": {site: true, read: func(c *call, r state.Reader, _ scope) (any, error) {
			o, err := orchestrate.OrganizationByName(r, c.params["name"])
			if err != nil {
				return nil, err
			}
			return orchestrate.QuotaDoc(r, o), nil
		}},
		"quotas.update": {site: true, body: objectBody, write: func(c *call, tx *state.Tx, _ scope) (any, error) {
			o, err := orchestrate.OrganizationByName(tx, c.params["name"])
			if err == nil {
				err = orchestrate.SetQuota(tx, o.ID, c.body)
			}
			if err != nil {
				return nil, err
			}
			return orchestrate.QuotaDoc(tx, o), nil
		}},
		"quotas.delete": {site: true, write: func(c *call, tx *state.Tx, _ scope) (any, error) {
			o, err := orchestrate.OrganizationByName(tx, c.params["name"])
			if err == nil {
				orchestrate.ResetQuota(tx, o.ID)
			}
			return nil, err
		}},
	}
}

// charge counts a request in the quota of its organization, once, after the caller was seen to be of it. What has too
// many, or had too many bytes, is told when to come again.
func (c *call) charge(r state.Reader, orgID string) error {
	if c.charged != "" {
		return nil
	}
	return c.chargeTo(orgID, orchestrate.QuotaOf(r, orgID))
}

// chargeTo is charge with a quota that was read.
func (c *call) chargeTo(orgID string, q model.Quota) error {
	what, wait := c.srv.rates.take(orgID, q, c.limit.began)
	if wait > 0 {
		value := q.RequestsPerSecond
		if what == "bytesPerSecond" {
			value = q.BytesPerSecond
		}
		e := model.Errorf(model.Unavailable, "the quota %s of the organization is %d, and used up for now: come again after the time that Retry-After tells", what, value)
		e.RetryAfter = wait
		return &statusError{http.StatusTooManyRequests, e}
	}
	c.charged = orgID
	return nil
}

// spent counts bytes that came or go. They are paid for afterwards, by those that come next.
func (c *call) spent(n int) {
	if c.charged != "" && n > 0 {
		c.srv.rates.spend(c.charged, n)
	}
}

// rates count what organizations do at this node, as buckets that fill by their quotas and hold a second's worth. They are
// safe for concurrent use.
type rates struct {
	mu sync.Mutex
	of map[string]*rate
}

type rate struct {
	at              time.Time
	requests, bytes float64 // what is left
}

// maxRates is from how many organizations on those that did nothing for a while are forgotten.
const maxRates = 1000

func newRates() *rates { return &rates{of: map[string]*rate{}} }

// take takes a request; else it tells which quota is used up, and how long until it is not.
func (l *rates) take(orgID string, q model.Quota, now time.Time) (what string, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.of[orgID]
	if r == nil {
		l.forget(now)
		r = &rate{at: now, requests: float64(q.RequestsPerSecond), bytes: float64(q.BytesPerSecond)}
		l.of[orgID] = r
	}
	past := 0.0
	if now.After(r.at) { // else one that came later was charged before
		past, r.at = now.Sub(r.at).Seconds(), now
	}
	r.requests = math.Min(r.requests+past*float64(q.RequestsPerSecond), float64(q.RequestsPerSecond))
	r.bytes = math.Min(r.bytes+past*float64(q.BytesPerSecond), float64(q.BytesPerSecond))
	switch {
	case r.requests < 1:
		return "requestsPerSecond", seconds((1 - r.requests) / float64(q.RequestsPerSecond))
	case r.bytes < 0:
		return "bytesPerSecond", seconds(-r.bytes/float64(q.BytesPerSecond)) + 1
	}
	r.requests--
	return "", 0
}

func seconds(s float64) time.Duration { return max(time.Duration(s*float64(time.Second)), 1) }

// spend takes bytes, also those that are not there.
func (l *rates) spend(orgID string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.of[orgID]; r != nil {
		r.bytes -= float64(n)
	}
}

// forget drops organizations that did nothing for a minute and owe nothing, once there are many.
func (l *rates) forget(now time.Time) {
	if len(l.of) < maxRates {
		return
	}
	for id, r := range l.of {
		if r.bytes >= 0 && now.Sub(r.at) > time.Minute {
			delete(l.of, id)
		}
	}
}
