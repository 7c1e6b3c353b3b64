package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/muster-hq/muster/api/spec"
)

// contract is the OpenAPI document, as a judge of what goes over the wire.
type contract struct {
	matcher  *spec.Matcher
	paths    map[string]map[string]operation
	mu       sync.Mutex
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
}

type operation struct {
	Responses   map[string]answered
	RequestBody *answered
}

type answered struct {
	Ref     string `json:"$ref"`
	Content map[string]struct{ Schema any }
}

const contractAt = "https://muster.invalid/openapi.json"

var readContract = sync.OnceValues(func() (*contract, error) {
	b, err := spec.OpenAPI()
	if err != nil {
		return nil, err
	}
	var doc struct {
		Paths map[string]map[string]operation
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	c := &contract{matcher: spec.NewMatcher(spec.Routes()), paths: doc.Paths, compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	return c, c.compiler.AddResource(contractAt, whole)
})

// judge validates a JSON text by the schema at a pointer into the document.
func (c *contract) judge(pointer string, text []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	schema := c.schemas[pointer]
	if schema == nil {
		var err error
		if schema, err = c.compiler.Compile(contractAt + "#" + pointer); err != nil {
			return err
		}
		c.schemas[pointer] = schema
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

func pointer(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString("/" + strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(p, "~", "~0"), "/", "~1"), "{", "%7B"))
	}
	return strings.ReplaceAll(b.String(), "}", "%7D")
}

// check says what of an exchange the document does not tell.
func (c *contract) check(method, path string, request []byte, a answer) error {
	segs, err := spec.SplitPath(path)
	if err != nil {
		return nil
	}
	if method == http.MethodHead {
		return nil
	}
	route, _, _, ok := c.matcher.Match(method, segs)
	if !ok {
		if a.status < 400 {
			return fmt.Errorf("no route answered %d", a.status)
		}
		return c.judge("/components/schemas/Problem", []byte(a.body))
	}
	at, m := route.OpenPath(), strings.ToLower(method)
	op, ok := c.paths[at][m]
	if !ok {
		return fmt.Errorf("%s %s is not in the document", method, at)
	}
	status := strconv.Itoa(a.status)
	told, ok := op.Responses[status]
	if !ok {
		return fmt.Errorf("the status %d is not documented", a.status)
	}
	kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	if told.Ref != "" {
		if kind != spec.ContentTypeProblem {
			return fmt.Errorf("an error of type %q", kind)
		}
		return c.judge("/components/schemas/Problem", []byte(a.body))
	}
	if a.body == "" {
		return nil
	}
	content, ok := told.Content[kind]
	if !ok {
		return fmt.Errorf("the media type %q is not documented for %d", kind, a.status)
	}
	if content.Schema != nil && kind == "application/json" {
		if err := c.judge(pointer("paths", at, m, "responses", status, "content", kind, "schema"), []byte(a.body)); err != nil {
			return fmt.Errorf("the answer: %w", err)
		}
	}
	if op.RequestBody != nil && a.status < 300 && len(request) > 0 && op.RequestBody.Content["application/json"].Schema != nil {
		if err := c.judge(pointer("paths", at, m, "requestBody", "content", "application/json", "schema"), request); err != nil {
			return fmt.Errorf("the body: %w", err)
		}
	}
	return nil
}

// checked passes requests on, and fails the test for each whose exchange the OpenAPI document does not tell.
func checked(t testing.TB, next http.Handler) http.Handler {
	c, err := readContract()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	done := false
	t.Cleanup(func() { mu.Lock(); done = true; mu.Unlock() })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		body := &tee{ReadCloser: r.Body}
		r.Body = body
		path, isAPI := strings.CutPrefix(r.URL.EscapedPath(), "/api")
		coded := r.Header.Get("Content-Encoding") != ""
		next.ServeHTTP(rec, r)
		if !isAPI || strings.HasPrefix(rec.Header().Get("Content-Type"), "text/event-stream") {
			return
		}
		sent := body.b.Bytes()
		if coded {
			sent = nil
		}
		plain, err := rec.plain()
		if err == nil {
			err = c.check(r.Method, path, sent, answer{rec.status, rec.Header(), string(plain)})
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil && !done {
			t.Errorf("not as the OpenAPI document has it: %s %s: %d %.600s\nsent %.300s\n%v", r.Method, path, rec.status, plain, sent, err)
		}
	})
}

// recorder keeps what goes out.
type recorder struct {
	http.ResponseWriter
	status int
	b      bytes.Buffer
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
func (r *recorder) WriteHeader(status int)      { r.status = status; r.ResponseWriter.WriteHeader(status) }
func (r *recorder) Write(p []byte) (int, error) { r.b.Write(p); return r.ResponseWriter.Write(p) }

func (r *recorder) Flush() {
	if f, ok := r.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

func (r *recorder) plain() ([]byte, error) {
	switch r.Header().Get("Content-Encoding") {
	case "gzip":
		z, err := gzip.NewReader(&r.b)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(z)
	case "zstd":
		z, err := zstd.NewReader(&r.b)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		return io.ReadAll(z)
	}
	return r.b.Bytes(), nil
}

// tee keeps what is read of a body.
type tee struct {
	io.ReadCloser
	b bytes.Buffer
}

func (t *tee) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	t.b.Write(p[:n])
	return n, err
}
