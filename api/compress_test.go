package api_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func gzipped(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zstandard(t *testing.T, s string) string {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(w.EncodeAll([]byte(s), nil))
}

func plainOf(t *testing.T, a answer) string {
	t.Helper()
	switch a.header.Get("Content-Encoding") {
	case "gzip":
		r, err := gzip.NewReader(strings.NewReader(a.body))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	case "zstd":
		r, err := zstd.NewReader(strings.NewReader(a.body))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	return a.body
}

func TestCompressedAnswers(t *testing.T) {
	s := newSite(t).furnish()
	hosts := "/organizations/acme/environments/Dev/hosts/"
	for i := range 20 {
		s.raw("POST", hosts, fmt.Sprintf(`{"name": "h%d"}`, i))
	}
	plain := s.raw("GET", hosts, "", "Accept-Encoding", "identity")
	if plain.header.Get("Content-Encoding") != "" || plain.header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("headers of a plain answer: %v", plain.header)
	}
	for _, coding := range []string{"gzip", "zstd"} {
		a := s.raw("GET", hosts, "", "Accept-Encoding", coding)
		tag := a.header.Get("ETag")
		if a.header.Get("Content-Encoding") != coding || len(a.body) > len(plain.body)/2 || plainOf(t, a) != plain.body || tag != strings.TrimSuffix(plain.header.Get("ETag"), `"`)+"-"+coding+`"` {
			t.Errorf("%s: %d bytes of %d, %v", coding, len(a.body), len(plain.body), a.header)
		}
		if a := s.raw("GET", hosts, "", "Accept-Encoding", coding, "If-None-Match", tag); a.status != 304 {
			t.Errorf("%s: the tag of a compressed answer: %d", coding, a.status)
		}
	}
	big := "/organizations/acme/environments/Dev/hosts/web1"
	s.raw("POST", big+"/settings/", `{"key": "k", "value": "`+strings.Repeat("x", 5000)+`"}`)
	tag := s.raw("GET", big, "", "Accept-Encoding", "gzip").header.Get("ETag")
	if a := s.raw("PUT", big, `{"description": "by the tag of a compressed answer"}`, "If-Match", tag); a.status != 200 || !strings.HasSuffix(tag, `-gzip"`) {
		t.Errorf("a write under %s: %d %s", tag, a.status, a.body)
	}
	if a := s.raw("PUT", big, `{"description": "late"}`, "If-Match", tag); a.status != 412 {
		t.Errorf("a write under the tag of a version before: %d %s", a.status, a.body)
	}
	// What is tiny, what is an error, what is written, and what carries a secret stays as it is.
	s.raw("POST", big+"/settings/", `{"key": "s", "value": "`+strings.Repeat("y", 5000)+`", "schema": {"secret": true}}`)
	for _, path := range []string{"/flavors/debian?x", big, big + "/settings/", big + "/settings/s", hosts, "/organizations/nope" + strings.Repeat("x", 3000), "/organizations/acme"} {
		if a := s.raw("GET", path, "", "Accept-Encoding", "gzip"); a.header.Get("Content-Encoding") != "" && !strings.HasPrefix(path, "/flavors") {
			t.Errorf("%.50s is compressed: %v", path, a.header)
		}
	}
	if a := s.raw("GET", hosts+"?no_secret=true", "", "Accept-Encoding", "gzip"); a.header.Get("Content-Encoding") != "gzip" {
		t.Errorf("without secrets it is not compressed: %v", a.header)
	}
}

func TestCompressedBodies(t *testing.T) {
	s := newSite(t).furnish()
	doc := `{"name": "%s", "description": "` + strings.Repeat("d", 5000) + `"}`
	for coding, f := range map[string]func(*testing.T, string) string{"gzip": gzipped, "zstd": zstandard, "identity": func(_ *testing.T, s string) string { return s }} {
		if a := s.raw("POST", "/organizations/", f(t, fmt.Sprintf(doc, coding)), "Content-Encoding", coding); a.status != 201 || !strings.Contains(a.body, strings.Repeat("d", 5000)) {
			t.Errorf("%s: %d %.300s", coding, a.status, a.body)
		}
		form, contentType := form("file", "content by "+coding)
		content := "/organizations/acme/applications/web/files/site.conf/content"
		if a := s.raw("POST", content, f(t, form), "Content-Encoding", coding, "Content-Type", contentType); a.status != 200 {
			t.Errorf("an upload in %s: %d %s", coding, a.status, a.body)
		}
		if a := s.raw("GET", content, ""); a.body != "content by "+coding {
			t.Errorf("the content is %q", a.body)
		}
	}
	before := s.db.Local().Index()
	bomb := strings.Repeat(" ", 20<<20)
	upload, contentType := form("file", bomb)
	for _, c := range []struct {
		name, coding, body, kind, path string
		status                         int
		want                           string
	}{
		{"a bomb in gzip", "gzip", gzipped(t, bomb), "", "/organizations/", 413, "larger than 1048576 bytes"},
		{"a bomb in zstd", "zstd", zstandard(t, bomb), "", "/organizations/", 413, "larger than 1048576 bytes"},
		{"a bomb as an upload", "gzip", gzipped(t, upload), contentType, "/organizations/acme/applications/web/files/site.conf/content", 413, "larger than 8388608 bytes"},
		{"a bomb within a bomb", "gzip, gzip", gzipped(t, gzipped(t, bomb)), "", "/organizations/", 415, `"gzip, gzip" is not known here: send gzip, zstd`},
		{"not gzip", "gzip", "{}", "", "/organizations/", 400, "the body is not gzip, or broken off"},
		{"not zstd", "zstd", `{"name": "x"}`, "", "/organizations/", 400, "the body is not zstd"},
		{"broken off", "gzip", gzipped(t, fmt.Sprintf(doc, "x"))[:30], "", "/organizations/", 400, "or broken off"},
		{"empty", "gzip", "", "", "/organizations/", 400, "the body is not gzip"},
		{"unknown", "br", "{}", "", "/organizations/", 415, `"br" is not known here`},
	} {
		headers := []string{"Content-Encoding", c.coding}
		if c.kind != "" {
			headers = append(headers, "Content-Type", c.kind)
		}
		if a := s.raw("POST", c.path, c.body, headers...); a.status != c.status || !strings.Contains(a.errors(t), c.want) {
			t.Errorf("%s: %d %.300s", c.name, a.status, a.body)
		}
	}
	if now := s.db.Local().Index(); now != before {
		t.Errorf("refused bodies moved the state from %d to %d", before, now)
	}
}
