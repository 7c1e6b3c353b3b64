package api

import (
	"embed"
	"fmt"
	"html"
	"net/http"
	"strings"

	"github.com/muster-hq/muster/api/spec"
)

// pages is the documentation page. It takes nothing from other hosts.
//
//go:embed docs/page.html docs/page.css docs/page.js
var pages embed.FS

// documentation is what this server tells of its API, made once.
type documentation struct {
	openAPI []byte
	page    []byte
}

func newDocumentation(root string) (*documentation, error) {
	b, err := spec.OpenAPI()
	if err != nil {
		return nil, err
	}
	if root != "/api" {
		b = []byte(strings.Replace(string(b), `"servers":[{"url":"/api"}]`, fmt.Sprintf(`"servers":[{"url":%q}]`, root), 1))
	}
	page, err := pages.ReadFile("docs/page.html")
	if err != nil {
		return nil, fmt.Errorf("read the documentation page: %w", err)
	}
	return &documentation{openAPI: b, page: []byte(strings.ReplaceAll(string(page), "{ROOT}", html.EscapeString(root)))}, nil
}

// documentationEndpoints need no credentials: what they tell is in every copy of this program.
func documentationEndpoints() map[string]endpoint {
	file := func(kind string, content func(d *documentation) ([]byte, error)) endpoint {
		return endpoint{harmless: true, open: func(c *call) (reply, error) {
			d, err := c.srv.docs()
			if err != nil {
				return reply{}, err
			}
			b, err := content(d)
			if err != nil {
				return reply{}, err
			}
			c.header.Set("Cache-Control", "no-cache")
			c.header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
			answer := reply{status: http.StatusOK, kind: kind, body: b}
			answer.tag = tagOf(0, answer)
			return c.unchanged(answer), nil
		}}
	}
	embedded := func(name string) func(*documentation) ([]byte, error) {
		return func(*documentation) ([]byte, error) { return pages.ReadFile("docs/" + name) }
	}
	return map[string]endpoint{
		"openapi.show":     file(kindJSON, func(d *documentation) ([]byte, error) { return d.openAPI, nil }),
		"docs.show":        file("text/html; charset=utf-8", func(d *documentation) ([]byte, error) { return d.page, nil }),
		"docs.script.show": file("text/javascript; charset=utf-8", embedded("page.js")),
		"docs.style.show":  file("text/css; charset=utf-8", embedded("page.css")),
	}
}
