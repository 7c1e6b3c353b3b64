package spec

import (
	"net/url"
	"slices"
	"strings"
)

// Matcher finds the route of a path. It is read-only after NewMatcher and safe for concurrent use.
type Matcher struct{ root *node }

type node struct {
	literal map[string]*node
	param   map[string]*node // by the parameter's name; patterns differ in it below one parent
	rest    map[string]Route // by method: the pattern ends here and takes what is left
	restKey string
	routes  map[string]Route // by method
}

func newNode() *node {
	return &node{literal: map[string]*node{}, param: map[string]*node{}, rest: map[string]Route{}, routes: map[string]Route{}}
}

// NewMatcher makes a matcher of routes. Where two patterns fit, a literal goes before a parameter, and
// of two routes with the same method and place the first stays: renaming (PUT with a final slash) is
// the same as updating once final slashes do not count.
func NewMatcher(routes []Route) *Matcher {
	m := &Matcher{root: newNode()}
	for _, r := range routes {
		m.add(r)
	}
	return m
}

func (m *Matcher) add(r Route) {
	n := m.root
	for seg := range strings.SplitSeq(r.Pattern, "/") {
		if seg == "" {
			continue
		}
		name, isParam := strings.CutPrefix(seg, "{")
		name = strings.TrimSuffix(name, "}")
		if long, ok := strings.CutSuffix(name, "..."); isParam && ok {
			n.restKey = long
			if _, taken := n.rest[r.Method]; !taken {
				n.rest[r.Method] = r
			}
			return
		}
		next := n.literal
		if isParam {
			next = n.param
			seg = name
		}
		if next[seg] == nil {
			next[seg] = newNode()
		}
		n = next[seg]
	}
	if _, taken := n.routes[r.Method]; !taken {
		n.routes[r.Method] = r
	}
}

// Match finds the route of segments and the values of its parameters. Without a route for the method,
// allowed lists the methods that the path has; it is empty where the path is unknown.
func (m *Matcher) Match(method string, segments []string) (route Route, params map[string]string, allowed []string, ok bool) {
	params = map[string]string{}
	seen := map[string]bool{}
	route, ok = m.root.find(method, segments, params, seen)
	if ok {
		return route, params, nil, true
	}
	for k := range seen {
		allowed = append(allowed, k)
	}
	slices.Sort(allowed)
	return Route{}, nil, allowed, false
}

func (n *node) find(method string, segs []string, params map[string]string, seen map[string]bool) (Route, bool) {
	if len(segs) == 0 {
		for k := range n.routes {
			seen[k] = true
		}
		r, ok := n.routes[method]
		return r, ok
	}
	if next := n.literal[segs[0]]; next != nil {
		if r, ok := next.find(method, segs[1:], params, seen); ok {
			return r, true
		}
	}
	for name, next := range n.param {
		if r, ok := next.find(method, segs[1:], params, seen); ok {
			params[name] = segs[0]
			return r, true
		}
	}
	if n.restKey != "" {
		for k := range n.rest {
			seen[k] = true
		}
		if r, ok := n.rest[method]; ok {
			params[n.restKey] = strings.Join(segs, "/")
			return r, true
		}
	}
	return Route{}, false
}

// SplitPath cuts an escaped path at "/" first and decodes each segment then, dropping empty ones
// (contract section 1.1): a final slash, a doubled slash and neither are the same. The error is that
// of the percent-encoding.
func SplitPath(escaped string) ([]string, error) {
	var segs []string
	for s := range strings.SplitSeq(escaped, "/") {
		if s == "" {
			continue
		}
		seg, err := url.PathUnescape(s)
		if err != nil {
			return nil, err
		}
		segs = append(segs, seg)
	}
	return segs, nil
}

// Path fills a pattern's parameters, encoding each value; {name...} keeps its slashes.
// A parameter without a value stays as it is.
func Path(pattern string, params map[string]string) string {
	segs := strings.Split(pattern, "/")
	for i, s := range segs {
		name, ok := strings.CutPrefix(s, "{")
		if !ok {
			continue
		}
		name = strings.TrimSuffix(name, "}")
		name, long := strings.CutSuffix(name, "...")
		v, ok := params[name]
		switch {
		case !ok:
		case long:
			parts := strings.Split(v, "/")
			for j, p := range parts {
				parts[j] = escape(p)
			}
			segs[i] = strings.Join(parts, "/")
		default:
			segs[i] = escape(v)
		}
	}
	return strings.Join(segs, "/")
}

// escape encodes one segment. "." and ".." are left to PathEscape: the server takes the raw path and
// gives them no meaning.
func escape(s string) string { return url.PathEscape(s) }
