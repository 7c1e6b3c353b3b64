package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// restStore is a client of one node's REST API, with one connection that stays open.
type restStore struct {
	http  *http.Client
	base  string
	token string
	buf   bytes.Buffer
}

func openREST(node, org, token string) *restStore {
	return &restStore{
		http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 1}},
		base: "http://" + node + "/api/organizations/" + org + "/settings/", token: token,
	}
}

// setting is the part of the contract's Setting that is used here.
type setting struct {
	Key     string `json:"key"`
	Value   string `json:"value"`
	Version int64  `json:"version,omitempty"`
}

func (s *restStore) do(ctx context.Context, method, url string, body io.Reader) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("X-ComodIT-AppKey", s.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	s.buf.Reset()
	if _, err := s.buf.ReadFrom(resp.Body); err != nil {
		return 0, nil, err
	}
	return resp.StatusCode, s.buf.Bytes(), nil
}

func (s *restStore) create(ctx context.Context, key, value string) (int64, error) {
	return s.write(ctx, http.MethodPost, s.base, http.StatusCreated, setting{Key: key, Value: value})
}

func (s *restStore) put(ctx context.Context, key, value string) (int64, error) {
	return s.write(ctx, http.MethodPut, s.base+key, http.StatusOK, setting{Key: key, Value: value})
}

// begin makes an environment: a bulk write answers all settings of their place, so each client has one of its own.
func (s *restStore) begin(ctx context.Context, place string) error {
	org := strings.TrimSuffix(s.base, "settings/")
	status, b, err := s.do(ctx, http.MethodPost, org+"environments/", strings.NewReader(`{"name":"`+place+`"}`))
	if err != nil {
		return err
	}
	if status != http.StatusCreated {
		return fmt.Errorf("making an environment: status %d: %s", status, strings.TrimSpace(string(b)))
	}
	s.base = org + "environments/" + place + "/settings/"
	return nil
}

// bulk puts all settings of the client's place, and looks for each in the answer.
func (s *restStore) bulk(ctx context.Context, keys, values []string) (int64, error) {
	var doc strings.Builder
	doc.WriteString(`{"newOrUpdatedSettings":[`)
	for i, key := range keys {
		if i > 0 {
			doc.WriteByte(',')
		}
		doc.WriteString(`{"key":"` + key + `","value":"` + values[i] + `"}`)
	}
	doc.WriteString(`]}`)
	status, b, err := s.do(ctx, http.MethodPut, s.base, strings.NewReader(doc.String()))
	if err != nil {
		return 0, err
	}
	if status != http.StatusOK {
		return 0, fmt.Errorf("status %d: %s", status, strings.TrimSpace(string(b)))
	}
	return checkBulk(b, keys, values)
}

// checkBulk looks for each setting in the answer to a bulk write, and gives the version of the first. The settings are plain:
// no object is within another, no quote within a text. So each is found without reading the whole as JSON, which would take
// processor time from the nodes that are measured.
func checkBulk(reply []byte, keys, values []string) (version int64, err error) {
	_, rest, ok := bytes.Cut(reply, []byte(`"items":[`))
	if !ok {
		return 0, fmt.Errorf("the reply has no items: %.80q", reply)
	}
	got := make(map[string][]byte, len(keys))
	for {
		_, after, ok := bytes.Cut(rest, []byte("{"))
		if !ok {
			break
		}
		item, after, ok := bytes.Cut(after, []byte("}"))
		if !ok {
			return 0, fmt.Errorf("the reply ends within a setting: %.80q", item)
		}
		got[string(textOf(item, `"key":"`))], rest = item, after
	}
	for i, key := range keys {
		if value := textOf(got[key], `"value":"`); string(value) != values[i] || len(got) != len(keys) {
			return 0, fmt.Errorf("the reply has %d settings, and of %s %.80q", len(got), key, value)
		}
	}
	return versionIn(got[keys[0]])
}

// textOf is the text after a name, up to its quote; nil where the name is not there.
func textOf(item []byte, name string) []byte {
	_, text, _ := bytes.Cut(item, []byte(name))
	text, _, _ = bytes.Cut(text, []byte(`"`))
	return text
}

func (s *restStore) write(ctx context.Context, method, url string, want int, set setting) (int64, error) {
	// Keys and values are plain letters and digits, so that JSON needs no library on either way.
	doc := `{"key":"` + set.Key + `","value":"` + set.Value + `"}`
	status, b, err := s.do(ctx, method, url, strings.NewReader(doc))
	if err != nil {
		return 0, err
	}
	if status != want {
		return 0, fmt.Errorf("status %d: %s", status, strings.TrimSpace(string(b)))
	}
	if !bytes.Contains(b, []byte(`"key":"`+set.Key+`"`)) || !bytes.Contains(b, []byte(`"value":"`+set.Value+`"`)) {
		return 0, fmt.Errorf("the reply to a put of %s is another setting: %.80s", set.Key, b)
	}
	return versionIn(b)
}

// versionIn reads the version of a setting.
func versionIn(setting []byte) (int64, error) {
	_, digits, _ := bytes.Cut(setting, []byte(`"version":`))
	if end := bytes.IndexAny(digits, ",}"); end >= 0 {
		digits = digits[:end]
	}
	return strconv.ParseInt(string(digits), 10, 64)
}

func (s *restStore) get(ctx context.Context, key string, stale bool) (string, error) {
	url := s.base + key
	if stale {
		url += "?consistency=stale"
	}
	status, b, err := s.do(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	got, err := read(status, b)
	if err == nil && got.Key != key {
		err = fmt.Errorf("the reply to a get of %s is another setting: %.80s", key, b)
	}
	return got.Value, err
}

func read(status int, b []byte) (s setting, err error) {
	if status != http.StatusOK {
		return s, fmt.Errorf("status %d: %s", status, strings.TrimSpace(string(b)))
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("the reply does not read: %w", err)
	}
	return s, nil
}

func (s *restStore) close() error {
	s.http.CloseIdleConnections()
	return nil
}
