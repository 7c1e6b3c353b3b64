// Package rabbitauth lets RabbitMQ ask our policy: it answers rabbitmq_auth_backend_http. It stands
// apart from package bus so that agents carry no HTTP server.
package rabbitauth

import (
	"errors"
	"io"
	"log/slog"
	"net/http"

	"github.com/muster-hq/muster/dispatch/bus"
)

// maxForm bounds a request's body, in bytes; a login statement is the longest thing in one.
const maxForm = 16 << 10

// Handler serves POST /user, /vhost, /resource and /topic with forms as RabbitMQ sends them and answers
// 200 with "allow" or "deny"; mount it below a prefix with http.StripPrefix. Only loopback or the
// broker's network should reach it: it tells whoever asks whether a statement is good. log may be nil.
func Handler(policy *bus.Policy, log *slog.Logger) http.Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	answer := func(pattern string, judge func(r *http.Request) bool) {
		mux.HandleFunc("POST "+pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
			if err := r.ParseForm(); err != nil {
				http.Error(w, "the body is no form, or too large", http.StatusBadRequest)
				return
			}
			text := "deny"
			if judge(r) {
				text = "allow"
			}
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			if _, err := io.WriteString(w, text); err != nil {
				log.DebugContext(r.Context(), "rabbitmq asked and left", "error", err)
			}
		})
	}
	answer("/user", func(r *http.Request) bool {
		_, err := policy.AuthenticateRepeated(r.Context(), r.PostForm.Get("username"), r.PostForm.Get("password"))
		switch {
		case errors.Is(err, bus.ErrLogin):
			log.WarnContext(r.Context(), "bus login refused", "error", err)
		case err != nil:
			log.ErrorContext(r.Context(), "bus login not judged", "error", err)
		}
		return err == nil
	})
	answer("/vhost", func(r *http.Request) bool {
		_, ok := identity(r)
		return ok && r.PostForm.Get("vhost") == "/"
	})
	answer("/resource", func(r *http.Request) bool { return allow(r, bus.Resource(r.PostForm.Get("resource"))) })
	answer("/topic", func(r *http.Request) bool { return allow(r, bus.ResourceTopic) })
	return mux
}

// identity is whom RabbitMQ asks about: somebody it has let in by /user, so never the orchestrator.
func identity(r *http.Request) (bus.Identity, bool) {
	id, ok := bus.ParseUser(r.PostForm.Get("username"))
	return id, ok && id.Role != bus.RoleOrchestrator
}

func allow(r *http.Request, res bus.Resource) bool {
	id, ok := identity(r)
	f := r.PostForm
	return ok && f.Get("vhost") == "/" &&
		bus.Allow(id, bus.Permission(f.Get("permission")), res, f.Get("name"), f.Get("routing_key"))
}
