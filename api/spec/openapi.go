package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// piece is a part of the document.
type piece = map[string]any

// OpenAPI is the table as an OpenAPI 3.1 document in JSON, a path on each line. Bodies and answers are described by the Go
// types that they are read into and written from. Rows that are not built answer 501 and nothing else.
func OpenAPI() ([]byte, error) {
	s := &shapes{types: wireTypes(), done: piece{}}
	paths := map[string]piece{}
	for _, r := range Routes() {
		path := openPath(r.Pattern)
		if paths[path] == nil {
			paths[path] = piece{}
		}
		method := strings.ToLower(r.Method)
		if paths[path][method] == nil { // a rename is an update with another name: the first of a place counts
			paths[path][method] = s.operation(r)
		}
	}
	s.ref("Problem")
	s.ref("Plan")
	doc := []struct {
		key   string
		value any
	}{
		{"openapi", "3.1.0"},
		{"info", piece{"title": "Muster", "version": "1", "license": piece{"name": "see LICENSE"},
			"description": "Organizations, environments, hosts, applications and their settings. Made from the route table; what the rows mean is in the API contract."}},
		{"servers", []piece{{"url": "/api"}}},
		{"security", []piece{{"basic": []string{}}, {"applicationKey": []string{}}, {"session": []string{}}}},
		{"components", piece{"schemas": s.done, "responses": responses(), "parameters": commonParameters(), "securitySchemes": piece{
			"basic":          piece{"type": "http", "scheme": "basic"},
			"applicationKey": piece{"type": "apiKey", "in": "header", "name": HeaderAppKey},
			"session":        piece{"type": "apiKey", "in": "header", "name": HeaderJWT},
		}}},
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for _, part := range doc {
		v, err := json.Marshal(part.value)
		if err != nil {
			return nil, fmt.Errorf("write the OpenAPI document: %w", err)
		}
		fmt.Fprintf(&b, "%q:%s,\n", part.key, v)
	}
	b.WriteString(`"paths":{`)
	for i, path := range sortedKeys(paths) {
		v, err := json.Marshal(paths[path])
		if err != nil {
			return nil, fmt.Errorf("write the OpenAPI document: %w", err)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n%q:%s", path, v)
	}
	b.WriteString("\n}}\n")
	return b.Bytes(), nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// openPath is a pattern without what does not count: final and doubled slashes, and the dots of a parameter that takes the rest.
func openPath(pattern string) string {
	var segs []string
	for seg := range strings.SplitSeq(pattern, "/") {
		if seg != "" {
			segs = append(segs, strings.Replace(seg, "...}", "}", 1))
		}
	}
	return "/" + strings.Join(segs, "/")
}

// OpenPath is the path of a route in the OpenAPI document.
func (r Route) OpenPath() string { return openPath(r.Pattern) }

func (s *shapes) operation(r Route) piece {
	op := piece{
		"operationId": strings.ReplaceAll(strings.Trim(r.Name+"."+r.Level, "."), " ", "-"), "tags": []string{r.Section},
		"summary": r.Name, "responses": s.answers(r), "parameters": parameters(r),
	}
	if text := notes(r); text != "" {
		op["description"] = text
	}
	if body := s.body(r); body != nil && r.State == Built {
		op["requestBody"] = body
	}
	if r.Open() {
		op["security"] = []piece{}
	}
	return op
}

// Open tells the routes that need no credentials.
func (r Route) Open() bool {
	return strings.Contains(r.Row.Answer, "needs no credentials")
}

func notes(r Route) string {
	var notes []string
	if r.State == Planned {
		notes = append(notes, "Not built: answers 501.")
	}
	if r.State == Empty {
		notes = append(notes, "Nothing of the kind can be made yet: the list is empty.")
	}
	if r.Row.Answer != "" && r.Row.Answer != "ignored" {
		notes = append(notes, "Answer: "+r.Row.Answer+".")
	}
	return strings.Join(notes, " ")
}

func refTo(kind, name string) piece { return piece{"$ref": "#/components/" + kind + "/" + name} }

// parameters are those of the path, of the row, and of every request of its kind.
func parameters(r Route) []piece {
	var all []piece
	for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(r.OpenPath(), -1) {
		all = append(all, piece{"name": m[1], "in": "path", "required": true, "schema": piece{"type": "string"}})
	}
	common := commonParameters()
	for _, name := range queryNames(r.Row.Query) {
		if _, ok := common[name]; ok && (r.Method == GET || name != "wait") {
			continue
		}
		all = append(all, piece{"name": name, "in": "query", "schema": piece{"type": "string"}})
	}
	names := []string{"requestId"}
	switch {
	case r.Open():
	case r.Method == GET:
		names = append(names, "index", "wait", "consistency", "ifNoneMatch")
		if strings.HasPrefix(r.Row.Answer, "list of ") || strings.HasPrefix(r.Row.Answer, "EventList") {
			names = append(names, "limit", "cursor")
		}
	default:
		names = append(names, "dry_run", "ifMatch", "idempotencyKey")
		if !slices.Contains(queryNames(r.Row.Query), "wait") {
			names = append(names, "waitChanges")
		}
	}
	for _, name := range names {
		all = append(all, refTo("parameters", name))
	}
	return all
}

// queryNames are the parameters that the contract's words for a query name.
func queryNames(words string) []string {
	words = strings.ReplaceAll(words, "trigger_* flags", "trigger_orchestration_handler, trigger_application_handler")
	if strings.HasPrefix(words, "as of the list") {
		words = "since, until, actor, kind, action, object, text, read, cursor"
	}
	words = regexp.MustCompile(`\([^)]*\)|=[A-Za-z/]+( or [A-Za-z]+)?|if given`).ReplaceAllString(words, "")
	var names []string
	for word := range strings.FieldsFuncSeq(words, func(r rune) bool { return r == ',' || r == ';' || r == ' ' }) {
		if !slices.Contains(names, word) {
			names = append(names, word)
		}
	}
	return names
}

func commonParameters() map[string]piece {
	query := func(name, schema, text string) piece {
		return piece{"name": name, "in": "query", "description": text, "schema": piece{"type": schema}}
	}
	header := func(name, text string) piece {
		return piece{"name": name, "in": "header", "description": text, "schema": piece{"type": "string"}}
	}
	return map[string]piece{
		"index":          query("index", "string", "EPOCH-INDEX: a state that is no older"),
		"wait":           query("wait", "string", "with index: until something is newer, at most this long, like 30s"),
		"waitChanges":    query("wait", "string", "until the changes that it causes are processed, at most this long, like 30s; X-Muster-Changes tells how far they are"),
		"consistency":    query("consistency", "string", "linearizable, the default, or stale"),
		"limit":          query("limit", "integer", "1 to 1000: a part of the list, in the order of identifiers"),
		"cursor":         query("cursor", "string", "of the part before"),
		"dry_run":        query("dry_run", "string", "true: answers a Plan, and does nothing"),
		"requestId":      header(HeaderRequestID, "names the request in its answer and in the log"),
		"ifNoneMatch":    header("If-None-Match", "ETags of what the caller has: 304"),
		"ifMatch":        header("If-Match", "the ETag that was read: 412 when it has changed"),
		"idempotencyKey": header(HeaderIdempotencyKey, "16 to 128 characters: done once under it"),
	}
}

// problems are the statuses of refusals, of every request and of those that write.
func problems(r Route) []int {
	all := []int{400, 401, 403, 404, 414, 429, 500, 501, 503}
	if r.Method == GET {
		all = append(all, 410, 504) // some reads write, too
	} else {
		all = append(all, 408, 409, 412, 413, 415, 422, 504)
	}
	if r.Open() {
		all = append(all, 409, 410, 413, 502)
	}
	return all
}

func responses() piece {
	return piece{"Problem": piece{"description": "Refused; error says what to change.", "content": piece{
		ContentTypeProblem: piece{"schema": refTo("schemas", "Problem")}}}}
}

// answers are what a route may answer.
func (s *shapes) answers(r Route) piece {
	out := piece{}
	if r.State == Planned {
		for _, status := range []int{400, 401, 403, 404, 414, 429, 500, 501, 503, 413} {
			out[strconv.Itoa(status)] = refTo("responses", "Problem")
		}
		return out
	}
	for _, status := range problems(r) {
		out[strconv.Itoa(status)] = refTo("responses", "Problem")
	}
	status, content := s.success(r)
	answer := piece{"description": strconv.Itoa(status)}
	if content != nil {
		answer["content"] = content
	}
	out[strconv.Itoa(status)] = answer
	switch {
	case r.Method == GET && status == 200:
		out["304"] = piece{"description": "The caller has it."}
	case r.Method != GET:
		plan := refTo("schemas", "Plan")
		if status == 200 && content != nil {
			if doc, ok := content["application/json"].(piece); ok && doc["schema"] == nil {
				break // anything
			} else if ok {
				content["application/json"] = piece{"schema": piece{"anyOf": []any{doc["schema"], plan}}}
			} else {
				content["application/json"] = piece{"schema": plan}
			}
		} else {
			out["200"] = piece{"description": "A dry run, or done.", "content": piece{"application/json": piece{"schema": plan}}}
		}
	}
	return out
}

// body is what a route takes; nil when nothing is looked at.
func (s *shapes) body(r Route) piece {
	var content piece
	word, _, _ := strings.Cut(r.Row.Body, " ")
	switch {
	case r.Row.Body == "" || r.Row.Body == "empty" || r.Row.Body == "{}":
		return nil
	case strings.HasPrefix(r.Row.Body, "multipart"):
		content = piece{"multipart/form-data": piece{"schema": piece{"type": "object", "properties": piece{"file": piece{"type": "string", "contentMediaType": kindBytes}}, "required": []string{"file"}}}}
	case strings.HasPrefix(r.Row.Body, "a snapshot"):
		content = piece{kindBytes: piece{}}
	case strings.HasPrefix(r.Row.Body, "list of {"):
		content = piece{"application/json": piece{"schema": piece{"type": "array", "items": piece{"type": "object"}}}}
	case s.types[word] != nil:
		content = piece{"application/json": piece{"schema": s.input(word)}}
	default:
		content = piece{"application/json": piece{"schema": piece{"type": "object"}}}
	}
	return piece{"content": content}
}

// The media types of answers that are no JSON.
const (
	kindBytes = "application/octet-stream"
	kindPlain = "text/plain"
)

// success is the status of a route that did its work, and what it answers by media type; nil is no body.
func (s *shapes) success(r Route) (int, piece) {
	words := r.Row.Answer
	object := func(properties piece, required ...string) piece {
		return piece{"application/json": piece{"schema": piece{"type": "object", "properties": properties, "required": append([]string{}, required...)}}}
	}
	text := piece{"type": "string"}
	item, isList := strings.CutPrefix(words, "list of ")
	word, _, _ := strings.Cut(item, " ")
	word = strings.TrimRight(word, ";:,")
	switch {
	case strings.HasPrefix(words, "302"):
		return 302, nil
	case r.Status == 204:
		return 204, nil
	case isList:
		return r.Status, object(piece{"count": piece{"type": "integer", "minimum": 0}, "items": piece{"type": "array", "items": s.ref(word)}, "cursor": text}, "count", "items")
	case strings.HasPrefix(words, "EventList"):
		return r.Status, piece{"application/json": piece{"schema": s.ref("EventList")}, "text/event-stream": piece{}}
	case strings.HasPrefix(words, "JSON lines"):
		return r.Status, piece{"application/x-ndjson": piece{}}
	case strings.HasPrefix(words, "raw bytes"), strings.HasPrefix(words, "a snapshot"):
		return r.Status, piece{kindBytes: piece{}}
	case strings.HasPrefix(words, "raw text"):
		return r.Status, piece{kindBytes: piece{}, kindPlain: piece{}}
	case strings.HasPrefix(words, "plain text"):
		return r.Status, piece{kindPlain: piece{"schema": text}}
	case strings.HasPrefix(words, `{"jwtToken"`):
		return r.Status, object(piece{"jwtToken": text, "username": text})
	case strings.HasPrefix(words, `{"url"`):
		return r.Status, object(piece{"url": text, "expires": text}, "url")
	case strings.HasPrefix(words, `{"items"`):
		return r.Status, object(piece{"items": piece{"type": "array"}}, "items")
	case s.types[word] != nil:
		return r.Status, piece{"application/json": piece{"schema": s.ref(word)}}
	case strings.HasPrefix(words, "a page"):
		return r.Status, piece{"text/html": piece{}}
	case strings.HasPrefix(words, "a script"):
		return r.Status, piece{"text/javascript": piece{}}
	case strings.HasPrefix(words, "a style sheet"):
		return r.Status, piece{"text/css": piece{}}
	case strings.HasPrefix(words, "ignored") || words == "":
		return r.Status, piece{"application/json": piece{}, kindPlain: piece{}}
	}
	return r.Status, piece{"application/json": piece{"schema": piece{"type": "object", "minProperties": 1}}}
}
