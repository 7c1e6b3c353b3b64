package auth

import (
	"net/http"
	"strings"
	"testing"
)

// FuzzClient reads what stands in X-Forwarded-For: only a trusted proxy is believed, and only addresses come out.
func FuzzClient(f *testing.F) {
	f.Add("192.0.2.1, 10.0.0.2", "10.0.0.1:80")
	f.Add("[2001:db8::1]:99,unknown,,", "[::ffff:10.0.0.1]:1")
	f.Add("fe80::1%eth0", "x")
	p, err := ParseProxies(strings.Split("10.0.0.0/8", ","))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, told, from string) {
		r := &http.Request{RemoteAddr: from, Header: http.Header{"X-Forwarded-For": {told}}}
		got := p.Client(r)
		bare := p.Client(&http.Request{RemoteAddr: from})
		if got != bare && !p.Trusts(bare) || got.Zone() != "" || got.Is4In6() {
			t.Fatalf("%q by %q is %s", told, from, got)
		}
	})
}
