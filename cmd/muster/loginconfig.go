package main

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/spf13/pflag"

	"github.com/muster-hq/muster/api"
	"github.com/muster-hq/muster/api/auth"
)

// loginConfig is how people reach the server and get accounts.
type loginConfig struct {
	TrustedProxies   string `yaml:"trusted-proxies"`
	ProxyProtocol    bool   `yaml:"proxy-protocol"`
	OpenRegistration bool   `yaml:"open-registration"`
	SMTP             string `yaml:"smtp"`
	SMTPFrom         string `yaml:"smtp-from"`
	SMTPPasswordFile string `yaml:"smtp-password-file"`

	OIDC oidcConfig `yaml:",inline"`
}

// oidcConfig is the OpenID provider at which people log in.
type oidcConfig struct {
	Issuer     string `yaml:"oidc-issuer"`
	ClientID   string `yaml:"oidc-client-id"`
	SecretFile string `yaml:"oidc-client-secret-file"`
	Scopes     string `yaml:"oidc-scopes"`
	Register   bool   `yaml:"oidc-register"`
}

func (o *oidcConfig) flags(fs *pflag.FlagSet) {
	fs.StringVar(&o.Issuer, "oidc-issuer", "", "OpenID provider at which people can log in, as it names itself: https://login.example.org; needs --public-url")
	fs.StringVar(&o.ClientID, "oidc-client-id", "muster", "what the OpenID provider knows this server by")
	fs.StringVar(&o.SecretFile, "oidc-client-secret-file", "", "`file` with the secret that the OpenID provider gave this server")
	fs.StringVar(&o.Scopes, "oidc-scopes", "profile,email", "what to ask the OpenID provider for, beside openid")
	fs.BoolVar(&o.Register, "oidc-register", false, "give an account, without rights, to whoever logs in at the OpenID provider and has none")
}

func (o oidcConfig) validate(publicURL string) (errs []error) {
	if o.Issuer == "" {
		if o.Register || o.SecretFile != "" {
			errs = append(errs, errors.New("--oidc-register and --oidc-client-secret-file need --oidc-issuer"))
		}
		return errs
	}
	if _, err := o.provider(""); err != nil {
		errs = append(errs, fmt.Errorf("--oidc-issuer: %w", err))
	}
	if publicURL == "" {
		errs = append(errs, errors.New("--oidc-issuer needs --public-url: browsers come back there from the provider"))
	}
	return errs
}

func (o oidcConfig) provider(secret string) (*auth.Provider, error) {
	scopes := strings.FieldsFunc(o.Scopes, func(r rune) bool { return r == ',' || r == ' ' })
	return auth.NewProvider(auth.ProviderConfig{Issuer: o.Issuer, ClientID: o.ClientID, ClientSecret: secret, Scopes: append([]string{}, scopes...)})
}

// put tells the API of the provider, if there is one.
func (o oidcConfig) put(login *api.Login) (err error) {
	if o.Issuer == "" {
		return nil
	}
	secret := ""
	if o.SecretFile != "" {
		if secret, err = readSecret(o.SecretFile); err != nil {
			return err
		}
	}
	p, err := o.provider(secret)
	if err != nil {
		return err
	}
	login.OIDC, login.OIDCRegister = p, o.Register
	return nil
}

func (l *loginConfig) flags(fs *pflag.FlagSet) {
	fs.StringVar(&l.TrustedProxies, "trusted-proxies", "", "load balancers whose word counts for where a request comes from (X-Forwarded-For): addresses and networks with commas between")
	fs.BoolVar(&l.ProxyProtocol, "proxy-protocol", false, "the trusted proxies say by the PROXY protocol for whom they connect to --http")
	fs.BoolVar(&l.OpenRegistration, "open-registration", false, "let everybody ask for an account, and have it once its mail address is confirmed")
	fs.StringVar(&l.SMTP, "smtp", "", "mail server for confirmations and notification channels: smtp://[USER@]HOST:587, or smtps://[USER@]HOST:465 for TLS from the beginning; without one tokens of registrations are in the log")
	fs.StringVar(&l.SMTPFrom, "smtp-from", "", "sender of the letters")
	fs.StringVar(&l.SMTPPasswordFile, "smtp-password-file", "", "`file` with the password for --smtp")
	l.OIDC.flags(fs)
}

func (l loginConfig) validate() (errs []error) {
	proxies, err := auth.ParseProxies(strings.Split(l.TrustedProxies, ","))
	if err != nil {
		errs = append(errs, fmt.Errorf("--trusted-proxies: %w", err))
	}
	if l.ProxyProtocol && len(proxies) == 0 && err == nil {
		errs = append(errs, errors.New("--proxy-protocol needs --trusted-proxies: anybody else could say to be somebody else"))
	}
	if l.SMTP != "" {
		u, err := url.Parse(l.SMTP)
		if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" || u.Port() == "" {
			errs = append(errs, errors.New("--smtp is not a mail server's address like smtp://user@mail.example.org:587, or smtps://user@mail.example.org:465 for TLS from the beginning"))
		} else if _, has := u.User.Password(); has {
			errs = append(errs, errors.New("--smtp holds a password: give it in a file, by --smtp-password-file"))
		} else if u.User.Username() != "" && l.SMTPPasswordFile == "" {
			errs = append(errs, errors.New("--smtp names a user: give the password in a file, by --smtp-password-file"))
		}
		if _, err := mail.ParseAddress(l.SMTPFrom); err != nil {
			errs = append(errs, fmt.Errorf("--smtp-from %q: give an address like muster@example.org", l.SMTPFrom))
		}
	}
	return errs
}

// api is what the API is told of it.
func (l loginConfig) api(publicURL string) (api.Login, error) {
	proxies, err := auth.ParseProxies(strings.Split(l.TrustedProxies, ","))
	if err != nil {
		return api.Login{}, err
	}
	login := api.Login{Proxies: proxies, Register: l.OpenRegistration, PublicURL: strings.TrimRight(publicURL, "/")}
	if err := l.OIDC.put(&login); err != nil || l.SMTP == "" {
		return login, err
	}
	m, err := l.mail()
	if err != nil {
		return login, err
	}
	login.Mail = m
	return login, nil
}

// mail is the mail server; nil when none is configured.
func (l loginConfig) mail() (*mailServer, error) {
	if l.SMTP == "" {
		return nil, nil
	}
	u, err := url.Parse(l.SMTP)
	if err != nil {
		return nil, errors.New("--smtp is not an address")
	}
	m := &mailServer{addr: u.Host, user: u.User.Username(), from: l.SMTPFrom, secure: u.Scheme == "smtps"}
	if l.SMTPPasswordFile != "" {
		if m.password, err = readSecret(l.SMTPPasswordFile); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// listener reads the PROXY protocol of the trusted proxies. Whoever else sends it speaks no HTTP.
func (l loginConfig) listener(ln net.Listener) (net.Listener, error) {
	if !l.ProxyProtocol {
		return ln, nil
	}
	proxies, err := auth.ParseProxies(strings.Split(l.TrustedProxies, ","))
	if err != nil {
		return nil, err
	}
	return &proxyproto.Listener{
		Listener: ln, ReadHeaderTimeout: 5 * time.Second,
		ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			if ap, err := netip.ParseAddrPort(o.Upstream.String()); err == nil && proxies.Trusts(ap.Addr().Unmap().WithZone("")) {
				return proxyproto.USE, nil
			}
			return proxyproto.SKIP, nil
		},
	}, nil
}
