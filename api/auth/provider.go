package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/muster-hq/muster/fsm/model"
)

// Provider is an OpenID provider at which people log in, by the code flow of OpenID Connect Core 1.0 with PKCE
// (RFC 7636). It is asked for its keys and addresses at the first login, so that a server starts while its provider is
// away. It is safe for concurrent use.
type Provider struct {
	cfg    ProviderConfig
	client *http.Client
	asking chan struct{}  // holds one while somebody looks the provider up
	found  *oidc.Provider // nil before; only who holds asking touches it
}

// ProviderConfig is what the provider knows this server by.
type ProviderConfig struct {
	Issuer       string   // exactly as the provider's documents say it: https://login.example.org
	ClientID     string   // of this server at the provider
	ClientSecret string   // "" for a public client
	Scopes       []string // beside openid; nil is profile and email
}

// Subject is who logged in at a provider. Issuer and Subject name the person for good; the rest is what the provider
// says of it today, and names nobody.
type Subject struct {
	Issuer, Subject           string
	Username, Fullname, Email string
	EmailVerified             bool
}

// The bounds of talking to a provider.
const (
	providerWait   = 10 * time.Second // for one answer
	providerAnswer = 1 << 20          // bytes of one
)

// NewProvider checks what is said of a provider; it asks it nothing yet. Error: Invalid.
func NewProvider(cfg ProviderConfig) (*Provider, error) {
	u, err := url.Parse(cfg.Issuer)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, model.Errorf(model.Invalid, "issuer %q is not an address like https://login.example.org", cfg.Issuer)
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme != "https" && (u.Scheme != "http" || ip == nil || !ip.IsLoopback()) {
		return nil, model.Errorf(model.Invalid, "issuer %q: a provider is believed over https only (or http to a loopback address)", cfg.Issuer)
	}
	if cfg.ClientID == "" {
		return nil, model.Errorf(model.Invalid, "the provider must know this server by a client id: give one")
	}
	if cfg.Scopes == nil {
		cfg.Scopes = []string{"profile", "email"}
	}
	return &Provider{cfg: cfg, asking: make(chan struct{}, 1), client: &http.Client{
		Timeout: providerWait, Transport: bounded{http.DefaultTransport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// bounded reads no more of an answer than a provider has to say.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, providerAnswer), res.Body}
	}
	return res, err
}

// away is what people are told when the provider is not to be used; why is for the log.
func away(err error) error {
	return &model.Error{Code: model.Unavailable, Err: err, RetryAfter: providerWait,
		Messages: []string{"the OpenID provider does not answer as it should: try again later, or log in with your password"}}
}

// discover finds the provider's addresses and keys, once.
func (p *Provider) discover(ctx context.Context) (*oidc.Provider, error) {
	select {
	case p.asking <- struct{}{}:
	case <-ctx.Done():
		return nil, away(ctx.Err())
	}
	defer func() { <-p.asking }()
	if p.found == nil {
		found, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.cfg.Issuer)
		if err != nil {
			return nil, away(fmt.Errorf("look up the OpenID provider: %w", err))
		}
		p.found = found
	}
	return p.found, nil
}

func (p *Provider) oauth(found *oidc.Provider, redirect string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: p.cfg.ClientSecret, Endpoint: found.Endpoint(), RedirectURL: redirect,
		Scopes: append([]string{oidc.ScopeOpenID}, p.cfg.Scopes...),
	}
}

// Begin is the address to send a browser to, which comes back to redirect. Error: Unavailable.
func (p *Provider) Begin(ctx context.Context, f Flow, redirect string) (string, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return "", err
	}
	return p.oauth(found, redirect).AuthCodeURL(f.State, oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)), nil
}

// Redeem finds who logged in, from the code that the browser brought back to redirect. Errors: Unauthenticated (the
// code, or what the provider gave for it, is not of this login), Unavailable.
func (p *Provider) Redeem(ctx context.Context, code, redirect string, f Flow) (Subject, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return Subject{}, err
	}
	ctx = oidc.ClientContext(ctx, p.client)
	token, err := p.oauth(found, redirect).Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused) && refused.Response.StatusCode < 500 && refused.ErrorCode != "invalid_client":
		return Subject{}, notOfThis(errors.New("the provider does not take the code: " + refused.ErrorCode))
	case err != nil: // its text may hold the answer, and so a token: never shown
		return Subject{}, away(errors.New("the provider gave no token for a code"))
	}
	text, ok := token.Extra("id_token").(string)
	if !ok {
		return Subject{}, away(errors.New("the provider gave no id_token"))
	}
	id, err := found.Verifier(&oidc.Config{ClientID: p.cfg.ClientID}).Verify(ctx, text)
	if err != nil {
		return Subject{}, notOfThis(fmt.Errorf("id_token: %w", err))
	}
	if id.Nonce != f.Nonce || f.Nonce == "" {
		return Subject{}, notOfThis(errors.New("id_token: another nonce"))
	}
	var claims struct {
		Username      string `json:"preferred_username"`
		Name          string `json:"name"`
		Email         string `json:"email"`
		EmailVerified bool   `json:"email_verified"`
		Party         string `json:"azp"`
	}
	if err := id.Claims(&claims); err != nil {
		return Subject{}, notOfThis(fmt.Errorf("id_token: %w", err))
	}
	if claims.Party != "" && claims.Party != p.cfg.ClientID { // Core 3.1.3.7, 5
		return Subject{}, notOfThis(errors.New("id_token: made for another client"))
	}
	return Subject{id.Issuer, id.Subject, claims.Username, claims.Name, claims.Email, claims.EmailVerified}, nil
}

func notOfThis(err error) error {
	return &model.Error{Code: model.Unauthenticated, Err: err, Messages: []string{"the OpenID provider's answer is not of this login: begin again"}}
}
