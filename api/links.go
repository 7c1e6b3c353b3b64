package api

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"

	"github.com/muster-hq/muster/api/auth"
	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/orchestrate"
	"github.com/muster-hq/muster/fsm/state"
)

// linkPath is where one-time addresses of rendered files are, below the root. What follows it is a secret.
const linkPath = "/links/"

// fileLink is the answer to who asks for a one-time address.
type fileLink struct {
	URL     string `json:"url"`
	Expires string `json:"expires"` // ours
}

func linkEndpoints() map[string]endpoint {
	// Making one writes, although it is a GET: the address is a row, so that it works once, on any node.
	link := func(owner func(c *call, r state.Reader, at scope) (model.Owner, error)) endpoint {
		return acting(auth.ReadSecret, func(c *call, tx *state.Tx, at scope) (any, error) {
			o, err := owner(c, tx, at)
			if err != nil {
				return nil, err
			}
			token := rand.Text()
			expires, err := orchestrate.MakeFileLink(tx, at.org.ID, at.host.ID, o, c.params["file"], model.HashSecret(token))
			if err != nil {
				return nil, err
			}
			address := c.publicRoot() + linkPath + token
			if !c.flag("short", false) {
				address += "/" + url.PathEscape(c.params["file"])
			}
			return fileLink{URL: address, Expires: model.FormatTime(expires)}, nil
		})
	}
	return map[string]endpoint{
		"links.show": {open: useLink},
		"host.applications.files.link.show": link(func(c *call, r state.Reader, at scope) (model.Owner, error) {
			row, _, err := orchestrate.ContextByName(r, at.org.ID, at.host.ID, c.params["app"])
			if err != nil {
				return model.Owner{}, err
			}
			return orchestrate.OwnerOfContext(row), nil
		}),
		"host.platform.files.link.show": link(func(_ *call, r state.Reader, at scope) (model.Owner, error) {
			row, _, err := orchestrate.PlatformOf(r, at.org.ID, at.host.ID)
			if err != nil {
				return model.Owner{}, err
			}
			return orchestrate.OwnerOfPlatformContext(row), nil
		}),
		"host.distribution.files.link.show": link(func(_ *call, r state.Reader, at scope) (model.Owner, error) {
			row, _, err := orchestrate.DistributionOf(r, at.org.ID, at.host.ID)
			if err != nil {
				return model.Owner{}, err
			}
			return orchestrate.OwnerOfDistributionContext(row), nil
		}),
	}
}

// publicRoot is the address of the API's root as the caller reaches it.
func (c *call) publicRoot() string {
	if c.srv.cfg.PublicURL != "" {
		return strings.TrimRight(c.srv.cfg.PublicURL, "/")
	}
	scheme := "http"
	if c.req.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + c.req.Host + c.srv.cfg.Root
}

// useLink answers the file of a one-time address, once. Who asks shows no credentials: the address is one. An address
// that this node does not know is looked for in the newest state. A HEAD request uses nothing up.
func useLink(c *call) (reply, error) {
	token, _, _ := strings.Cut(c.params["token"], "/")
	digest := model.HashSecret(token)
	if _, err := orchestrate.PeekFileLink(c.srv.cfg.Store.Local(), digest); err != nil {
		view, err := c.srv.cfg.Store.View(c.req.Context())
		if err != nil {
			return reply{}, err
		}
		if _, err := orchestrate.PeekFileLink(view, digest); err != nil {
			return reply{}, err
		}
	}
	if c.req.Method == http.MethodHead {
		return reply{status: http.StatusOK}, nil
	}
	var content []byte
	_, err := c.srv.cfg.Store.UpdateIndex(c.req.Context(), func(tx *state.Tx) (err error) {
		tx.SetActor("one-time address")
		link, err := orchestrate.PeekFileLink(tx, digest)
		if err != nil {
			return err
		}
		if content, err = orchestrate.UseFileLink(tx, digest); err != nil {
			return err
		}
		return c.recordLink(tx, link)
	})
	if err != nil {
		return reply{}, err
	}
	return encode(c.route.Status, raw(content))
}

// loggedPath is the path of a request without what is secret in it.
func loggedPath(root, path string) string {
	rest, ok := strings.CutPrefix(path, root)
	if !ok {
		return path
	}
	word, after, more := strings.Cut(strings.TrimLeft(rest, "/"), "/")
	if word != "links" || !more || after == "" {
		return path
	}
	return root + linkPath + "..."
}
