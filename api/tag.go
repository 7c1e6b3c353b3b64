package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/state"
)

// tagOf is the ETag of an answer: the epoch, and a digest of what is answered. Not the version of a row: documents are
// made of many, and what is left out of them depends on who asks.
func tagOf(epoch uint64, r reply) string {
	sum := sha256.Sum256(r.body)
	return `"` + strconv.FormatUint(epoch, 10) + "-" + hex.EncodeToString(sum[:16]) + `"`
}

// codedTag is the tag of an answer in a coding: a tag is of bytes, and these are others.
func codedTag(tag, coding string) string {
	if tag == "" {
		return ""
	}
	return strings.TrimSuffix(tag, `"`) + "-" + coding + `"`
}

// uncoded is the tag of the same answer as it is.
func uncoded(tag string) string {
	for _, coding := range []string{"gzip", "zstd"} {
		if plain, ok := strings.CutSuffix(tag, "-"+coding+`"`); ok {
			return plain + `"`
		}
	}
	return tag
}

// epochOfTag is the epoch that a tag of ours names; false for other tags.
func epochOfTag(tag string) (uint64, bool) {
	text, _, ok := strings.Cut(strings.Trim(tag, `"`), "-")
	epoch, err := strconv.ParseUint(text, 10, 64)
	return epoch, ok && err == nil
}

// tags are the entity tags of a header, as they stand there; a tag of ours holds no comma.
func tags(h http.Header, name string) []string {
	var out []string
	for _, line := range h.Values(name) {
		for tag := range strings.SplitSeq(line, ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				out = append(out, tag)
			}
		}
	}
	return out
}

// unchanged answers 304 where the caller has the answer already.
func (c *call) unchanged(answer reply) reply {
	if c.has(answer) {
		return reply{status: http.StatusNotModified, tag: answer.tag}
	}
	return answer
}

// has tells whether the caller says that it has the answer already.
func (c *call) has(answer reply) bool {
	if answer.tag == "" {
		return false
	}
	for _, tag := range tags(c.req.Header, "If-None-Match") {
		if tag == "*" || uncoded(strings.TrimPrefix(tag, "W/")) == answer.tag {
			return true
		}
	}
	return false
}

// matches refuses a write whose sender saw another version than there is. What it saw is what the caller gets by a GET
// of the same path, without a query or with its secrets masked (obfuscate); that is read within the transaction, so that it holds when the write takes effect.
func (c *call) matches(tx *state.Tx) error {
	want := tags(c.req.Header, "If-Match")
	if len(want) == 0 {
		return nil
	}
	route, params, _, ok := c.srv.matcher.Match(http.MethodGet, c.segs)
	end := c.srv.endpoints[route.Name]
	if !ok || end.read == nil {
		return model.Errorf(model.Invalid, "If-Match: nothing can be read at this path that it could be compared with: leave it out")
	}
	other := false
	for _, query := range []url.Values{nil, {"obfuscate": {"true"}}} {
		got := *c
		got.route, got.params, got.query, got.body = route, params, query, nil
		at, err := got.scope(tx, end)
		if err != nil {
			return err
		}
		value, err := end.read(&got, tx, at)
		if err != nil {
			return err
		}
		answer, err := got.encode(value)
		if err != nil {
			return err
		}
		now := tagOf(tx.Epoch(), answer)
		for _, tag := range want {
			if tag == "*" || uncoded(tag) == now {
				return nil
			}
			epoch, ours := epochOfTag(tag)
			other = other || ours && epoch != tx.Epoch()
		}
	}
	if other {
		return changed("If-Match: that version is of another epoch, before the cluster was restored or recovered: read it again, and decide anew")
	}
	return changed("If-Match: it has changed since you read it: read it again, and decide anew")
}

func changed(text string) error {
	return &statusError{http.StatusPreconditionFailed, model.Errorf(model.Conflict, "%s", text)}
}
