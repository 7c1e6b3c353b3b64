package auth

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// Proxies are the networks whose word is taken for whom they speak.
type Proxies []netip.Prefix

// ParseProxies reads networks and addresses. The error names the one that is none.
func ParseProxies(texts []string) (Proxies, error) {
	var p Proxies
	for _, s := range texts {
		s = strings.TrimSpace(s)
		if s == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(s)
		if addr, addrErr := netip.ParseAddr(s); err != nil && addrErr == nil {
			prefix, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("%q is no address and no network like 10.0.0.0/8", s)
		}
		p = append(p, netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()).Masked())
	}
	return p, nil
}

// Trusts tells whether an address is that of a proxy.
func (p Proxies) Trusts(a netip.Addr) bool {
	for _, n := range p {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// Client is the address that a request comes from. X-Forwarded-For counts only as far as proxies of ours wrote it: it is
// read from its end, each entry being told by the one after it. Without a valid address it is the zero one.
func (p Proxies) Client(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	at := clean(ap.Addr())
	if len(p) == 0 {
		return at
	}
	told := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(told) - 1; i >= 0 && p.Trusts(at); i-- {
		next, ok := parseHop(told[i])
		if !ok {
			break
		}
		at = next
	}
	return at
}

func parseHop(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return clean(a), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return clean(ap.Addr()), true
	}
	return netip.Addr{}, false
}

func clean(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
