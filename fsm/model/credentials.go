package model

import (
	"slices"
	"strings"
)

// Hidden says whether the value of a header or parameter is shown only to who may read secrets: it is marked as a secret, or is one by
// its name. A mark that says otherwise is mostly one that nobody thought about.
func (p Pair) Hidden() bool { return p.Secret || CredentialName(p.Name) }

// CredentialName says whether a header or a parameter of a query carries credentials, as far as its name tells: Authorization,
// Cookie, X-Api-Key, and whatever speaks of a token, a secret or a password. Case and dashes do not count.
func CredentialName(name string) bool {
	name = strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToLower(name))
	if slices.Contains([]string{"auth", "key", "sig", "signature", "sid", "pw", "pwd"}, name) {
		return true
	}
	for _, part := range []string{"authorization", "cookie", "apikey", "token", "secret", "passw", "passphrase", "credential", "accesskey", "privatekey", "authkey", "xauth", "session"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// MaskedAddresses is a text with the passwords of the addresses in it masked: scheme://user:password@host.
func MaskedAddresses(text, mask string) string {
	var out strings.Builder
	for {
		_, rest, ok := strings.Cut(text, "://")
		if !ok {
			break
		}
		out.WriteString(text[:len(text)-len(rest)])
		end := strings.IndexAny(rest, "/?#\"'<> \t\r\n\\")
		if end < 0 {
			end = len(rest)
		}
		at := strings.LastIndexByte(rest[:end], '@')
		if user, password, ok := strings.Cut(rest[:max(at, 0)], ":"); ok && password != "" {
			out.WriteString(user + ":" + mask)
			rest = rest[at:]
		}
		text = rest
	}
	return out.String() + text
}
