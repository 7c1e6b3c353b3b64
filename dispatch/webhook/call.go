package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/ohler55/ojg/jp"

	"github.com/muster-hq/muster/fsm/model"
)

// The limits of a run of a webhook: somebody waits for it.
const (
	callWithin  = 25 * time.Second // all attempts
	answerMost  = 256 << 10        // of an answer that properties are taken out of
	pathMost    = 200              // bytes of a jsonPath
	matchesMost = 100              // values that one jsonPath may find
)

// callPauses are the pauses between the attempts at a run.
func callPauses() []time.Duration { return []time.Duration{500 * time.Millisecond, 2 * time.Second} }

// Check says whether a webhook can be run: its properties have paths that can be followed. The error is Invalid.
func (s *Sender) Check(w *model.Webhook) error {
	_, err := propertyPaths(w)
	return err
}

// Run calls a webhook with its own method, body, headers and parameters, signed under id, now. What gave no answer, or
// 429, 502, 503 or 504, is tried again under the same id. Each attempt is a record; the result is of the last. The error
// is Conflict when no connection came about, Unknown when the request may have gone out, and names no secret.
func (s *Sender) Run(ctx context.Context, w *model.Webhook, id string) (res model.WebhookResult, records []model.DeliveryRecord, err error) {
	paths, err := propertyPaths(w)
	if err != nil {
		return res, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	pauses := callPauses()
	for attempt := 1; ; attempt++ {
		rec, answer, failed := s.call(ctx, w, id)
		rec.ID, rec.Kind, rec.Attempt = id, model.DeliveryRun, attempt
		again := attempt <= len(pauses) && ctx.Err() == nil && retryable(rec.Status, failed)
		if again {
			rec.Next = model.FormatTime(time.Now().Add(pauses[attempt-1]))
		}
		records = append(records, rec)
		if !again {
			return result(paths, &rec, answer), records, failed
		}
		select {
		case <-time.After(pauses[attempt-1]):
		case <-ctx.Done():
			return res, records, failed
		}
	}
}

// retryable tells whether another attempt may do better. An address that may not be called stays one.
func retryable(status int, failed error) bool {
	var forbidden *ForbiddenError
	if failed != nil {
		return !errors.As(failed, &forbidden)
	}
	return slices.Contains([]int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}, status)
}

// call makes one attempt.
func (s *Sender) call(ctx context.Context, w *model.Webhook, id string) (rec model.DeliveryRecord, answer []byte, err error) {
	rec.URL = target(w, false)
	began := time.Now()
	rec.Status, answer, err = s.ask(ctx, w, id)
	rec.Took = time.Since(began).Milliseconds()
	if err != nil {
		rec.Error = plain(err)
		code := model.Unknown
		var forbidden *ForbiddenError
		if errors.As(err, &forbidden) || errors.Is(err, errNoAddress) || isDial(err) {
			code = model.Conflict
		}
		return rec, nil, &model.Error{Code: code, Messages: []string{"the webhook gave no answer: " + rec.Error}, Err: quiet{err}}
	}
	if rec.Status > 299 {
		rec.Error = fmt.Sprintf("it answered %d", rec.Status)
	}
	return rec, answer, nil
}

// isDial says that no connection came about, so that no request went out.
func isDial(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns)
}

func (s *Sender) ask(ctx context.Context, w *model.Webhook, id string) (status int, answer []byte, err error) {
	var body []byte
	if w.Method != http.MethodGet {
		body = []byte(w.Body)
	}
	req, err := signed(ctx, w, id, body, time.Now())
	if err != nil {
		return 0, nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	answer, err = io.ReadAll(io.LimitReader(resp.Body, answerMost+1))
	if err != nil || len(answer) > answerMost {
		answer = nil // its status is known; properties are not
	}
	return resp.StatusCode, answer, nil
}

// path is a property's, parsed.
type path struct {
	name string
	expr jp.Expr
}

// propertyPaths parses what a webhook takes out of answers.
func propertyPaths(w *model.Webhook) ([]path, error) {
	out := make([]path, 0, len(w.Properties))
	for _, p := range w.Properties {
		e, err := parsePath(p.JSONPath)
		if err != nil {
			return nil, model.Errorf(model.Invalid, "properties: %s: %v", p.Name, err)
		}
		out = append(out, path{p.Name, e})
	}
	return out, nil
}

// parsePath parses a JSONPath (RFC 9535) without what may cost much: filters, and more than one descent or union.
func parsePath(text string) (e jp.Expr, err error) {
	if len(text) > pathMost {
		return nil, fmt.Errorf("the jsonPath is longer than %d bytes", pathMost)
	}
	defer func() { // the parser is somebody else's, and the text a tenant's
		if recover() != nil {
			e, err = nil, fmt.Errorf("the jsonPath %q cannot be read", text)
		}
	}()
	if e, err = jp.ParseString(text); err != nil || len(e) == 0 {
		return nil, fmt.Errorf("%q is not a JSONPath (RFC 9535) like $.status", text)
	}
	multiply := 0
	for _, f := range e {
		switch f.(type) {
		case jp.Root, jp.Bracket, jp.Child, jp.Nth, jp.Wildcard, jp.Slice:
		case jp.Descent, jp.Union: // each may multiply what is found
			multiply++
		default:
			return nil, fmt.Errorf("the jsonPath %q has a filter: give one of names, numbers and *", text)
		}
	}
	if multiply > 1 {
		return nil, fmt.Errorf("the jsonPath %q has more than one .. or list: give one at most", text)
	}
	return e, nil
}

// result is what is told of an answer: of each property the value that was found, a list of several, or null.
func result(paths []path, rec *model.DeliveryRecord, answer []byte) model.WebhookResult {
	res := model.WebhookResult{ReturnCode: rec.Status, Properties: []model.PropertyResult{}}
	var doc any
	dec := json.NewDecoder(bytes.NewReader(answer))
	dec.UseNumber()
	if dec.Decode(&doc) != nil {
		doc = nil
	}
	for _, p := range paths {
		res.Properties = append(res.Properties, model.PropertyResult{Name: p.name, Value: find(p.expr, doc)})
	}
	return res
}

func find(e jp.Expr, doc any) (value any) {
	defer func() {
		if recover() != nil {
			value = nil
		}
	}()
	found := e.Get(doc)
	switch {
	case len(found) == 0:
		return nil
	case len(found) == 1:
		return found[0]
	}
	return found[:min(len(found), matchesMost)]
}

// quiet is an error whose text names no address.
type quiet struct{ err error }

func (q quiet) Error() string { return plain(q.err) }
func (q quiet) Unwrap() error { return q.err }

// signed makes a request of a webhook under an id, with the headers of Standard Webhooks.
func signed(ctx context.Context, w *model.Webhook, id string, body []byte, now time.Time) (*http.Request, error) {
	key, err := w.SigningKey()
	if err != nil {
		return nil, fmt.Errorf("signing secret: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, w.Method, target(w, true), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the address cannot be requested") // the error would hold parameters
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "muster-webhook/1")
	for _, h := range w.Headers {
		req.Header.Set(h.Name, h.Value)
	}
	if w.AuthenticationMethod == "BASIC_AUTH" {
		req.SetBasicAuth(w.Username, w.Token)
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", stamp)
	req.Header.Set("webhook-signature", Sign(key, id, stamp, body))
	return req, nil
}
