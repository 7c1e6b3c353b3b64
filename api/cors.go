package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/muster-hq/muster/api/spec"
	"github.com/muster-hq/muster/fsm/model"
)

// origins are the pages of other hosts that browsers let use the API. Without any there are no headers of the kind at all.
type origins []string

// parseOrigins checks them: a scheme and a host each, as browsers send them. Any page at all cannot be allowed.
func parseOrigins(all []string, cross *http.CrossOriginProtection) (origins, error) {
	for _, o := range all {
		if strings.ContainsAny(o, "*, ") || o == "null" {
			return nil, model.Errorf(model.Invalid, "origin %q: give a scheme and a host each, like https://console.example.org; any page at all cannot be allowed", o)
		}
		if err := cross.AddTrustedOrigin(o); err != nil {
			return nil, model.Errorf(model.Invalid, "origin %q: give a scheme and a host, like https://console.example.org: %v", o, err)
		}
	}
	return origins(all), nil
}

// allow tells the browser of an allowed page that it may show what is answered. Cookies are not for pages of others: they
// send credentials by headers. done says that the request was only the browser's question, and is answered.
func (o origins) allow(w http.Header, r *http.Request) (done bool) {
	if len(o) == 0 {
		return false
	}
	w.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !slices.Contains(o, origin) {
		return false
	}
	w.Set("Access-Control-Allow-Origin", origin)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		w.Set("Access-Control-Expose-Headers", strings.Join([]string{"ETag", "Retry-After", spec.HeaderRequestID, spec.HeaderIndex, spec.HeaderEpoch, spec.HeaderAge, spec.HeaderReplayed, spec.HeaderPlan, spec.HeaderChanges, spec.HeaderDeleting}, ", "))
		return false
	}
	w.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, DELETE")
	w.Set("Access-Control-Allow-Headers", strings.Join([]string{"Authorization", "Content-Type", "Content-Encoding", "If-Match", "If-None-Match", "Last-Event-ID",
		spec.HeaderAppKey, spec.HeaderJWT, spec.HeaderTOTP, spec.HeaderIdempotencyKey, spec.HeaderRequestID}, ", "))
	w.Set("Access-Control-Max-Age", "600")
	return true
}
