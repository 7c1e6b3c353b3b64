package api_test

import (
	"bufio"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// onTheWire sends bytes as they are, and gives the statuses of all answers until the server ends the connection.
func (s *site) onTheWire(text string) (statuses []int, bodies []string) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test's
	if err := conn.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	end := func() { // who waits for an answer keeps listening: a request whose sender is gone is given up
		if c, ok := conn.(*net.TCPConn); ok {
			_ = c.CloseWrite()
		}
	}
	go func() {
		_, _ = io.WriteString(conn, text) // a server that has heard enough does not take the rest
		if strings.Contains(text, `"cut"`) {
			end()
		}
	}()
	in := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				s.t.Errorf("%.60q: the server neither answers nor ends the connection", text)
			}
			return statuses, bodies
		}
		b, _ := io.ReadAll(resp.Body) // an answer may be cut off with its connection
		statuses, bodies = append(statuses, resp.StatusCode), append(bodies, string(b))
		end()
	}
}

// What two readers of a request could read in two ways is refused, or read as the standard says, and nothing is written
// that was not asked for.
func TestRequestsThatLie(t *testing.T) {
	s := newSite(t).furnish()
	s.remembered()
	auth := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("admin:"+adminPassword)) + "\r\n"
	get := "GET /api/organizations/ HTTP/1.1\r\nHost: x\r\n"
	post := "POST /api/organizations/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + auth
	inner := "POST /api/organizations/ HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Length: 20\r\n\r\n{\"name\": \"smuggled\"}"
	before := s.db.Local().Index()
	for name, c := range map[string]struct {
		text  string
		first int // status, 0 for no answer
		most  int // answers
		want  string
	}{
		"two lengths":              {post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}" + inner, 400, 1, ""},
		"two lengths in one":       {post + "Content-Length: 5, 6\r\n\r\n{}" + inner, 400, 1, ""},
		"a length below 0":         {post + "Content-Length: -1\r\n\r\n" + inner, 400, 1, ""},
		"a length with a sign":     {post + "Content-Length: +2\r\n\r\n{}", 400, 1, ""},
		"a length past 2^64":       {post + "Content-Length: 18446744073709551618\r\n\r\n{}", 400, 1, ""},
		"a length in hexadecimal":  {post + "Content-Length: 0x2\r\n\r\n{}", 400, 1, ""},
		"more than it says":        {post + "Content-Length: 12\r\n\r\n{\"name\": 123}garbage\r\n\r\n", 400, 2, ""},
		"less than it says":        {post + "Content-Length: 1000\r\n\r\n{\"name\": \"cut\"", 400, 1, "the body broke off before its end"},
		"chunks that break off":    {post + "Transfer-Encoding: chunked\r\n\r\n20\r\n{\"name\": \"cut\"", 400, 1, "the body broke off before its end"},
		"a chunk with a sign":      {post + "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n", 400, 1, ""},
		"a chunk past 2^64":        {post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n", 400, 1, ""},
		"chunks of 1 byte":         {post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\n \r\n", 2<<20/6) + "0\r\n\r\n", 400, 1, ""},
		"extensions without end":   {post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 1000)+"\r\n \r\n", 2000) + "0\r\n\r\n", 400, 1, ""},
		"chunked twice":            {post + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + inner, 501, 1, ""},
		"chunked on two lines":     {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner, 501, 1, ""},
		"chunked, almost":          {post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + inner, 501, 1, ""},
		"chunked, with a tab":      {post + "Transfer-Encoding:\tchunked\v\r\n\r\n0\r\n\r\n" + inner, 400, 1, ""},
		"a blank before the colon": {post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + inner, 400, 1, ""},
		"a folded header":          {post + "X-A: b\r\n Content-Length: 2\r\n\r\n", 400, 1, ""},
		"NUL in a header":          {get + auth + "X-A: a\x00b\r\n\r\n", 400, 1, ""},
		"a line end in a header":   {get + auth + "X-A: a\rSet-Cookie: x\r\n\r\n", 400, 1, ""},
		"no host":                  {"GET /api/organizations/ HTTP/1.1\r\n" + auth + "\r\n", 400, 1, ""},
		"two hosts":                {get + "Host: y\r\n" + auth + "\r\n", 400, 1, ""},
		"HTTP/1.0 and chunks":      {strings.Replace(post, "1.1", "1.0", 1) + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner, 400, 1, ""},
		"HTTP/0.9":                 {"GET /api/organizations/\r\n\r\n", 400, 1, ""},
		"HTTP/3":                   {strings.Replace(get, "1.1", "3.0", 1) + auth + "\r\n", 505, 1, ""},
		"HTTP/2 by its preface":    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + inner, 404, 1, ""},
		"a path that is none":      {"GET /api/%zz HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", 400, 1, ""},
		"10,000 escaped slashes":   {"GET /api/organizations/" + strings.Repeat("%2F", 10_000) + " HTTP/1.1\r\nHost: x\r\n" + auth + "Connection: close\r\n\r\n", 414, 1, "at most 16384 are looked at"},
		"a path without end":       {"GET /api/" + strings.Repeat("x", 1<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431, 1, ""},
		"headers without end":      {get + strings.Repeat("X-A: b\r\n", 100_000), 431, 1, ""},
		"a cookie of 1 MiB":        {get + "Cookie: a=" + strings.Repeat("b", 1<<20) + "\r\n\r\n", 431, 1, ""},
		"1,000 cookies":            {get + "Connection: close\r\n" + strings.Repeat("Cookie: muster_session=x; a=b\r\n", 1000) + "\r\n", 401, 1, ""},
		"20,000 parameters":        {"GET /api/organizations/?" + strings.Repeat("a&", 20_000) + " HTTP/1.1\r\nHost: x\r\n" + auth + "Connection: close\r\n\r\n", 400, 1, "query"},
		"credentials in a trailer": {strings.Replace(post, auth, "", 1) + "Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n10\r\n{\"name\": \"late\"}\r\n0\r\n" + auth + "\r\n", 401, 1, ""},
		"a length in a trailer":    {post + "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n2\r\n{}\r\n0\r\nContent-Length: 1\r\n\r\n", 400, 1, ""},
		"two credentials":          {get + "Connection: close\r\nAuthorization: Basic eDp5\r\n" + auth + "\r\n", 401, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			statuses, bodies := s.onTheWire(c.text)
			got := append(statuses, 0)[0]
			if got != c.first && !(c.first == 400 && got == 0 && strings.Contains(name, "chunk")) || len(statuses) > c.most || !strings.Contains(strings.Join(bodies, "\n"), c.want) {
				t.Errorf("%v %.300q, want %d, at most %d answers, and %q", statuses, bodies, c.first, c.most, c.want)
			}
			for _, status := range statuses {
				if status < 400 || status == 500 {
					t.Errorf("answered %v %.300q", statuses, bodies)
				}
			}
		})
	}
	if now := s.db.Local().Index(); now != before {
		t.Errorf("requests that lie moved the state from %d to %d", before, now)
	}
	// What asks for another protocol is answered in this one, and a body that both headers measure is chunks.
	for name, text := range map[string]string{
		"h2c":            get + auth + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
		"a web socket":   get + auth + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		"another host":   "GET http://elsewhere.example/api/organizations/ HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n",
		"HTTP/1.0":       "GET /api/organizations/ HTTP/1.0\r\n" + auth + "\r\n",
		"both measures":  strings.Replace(get, "\r\n", "\r\nContent-Length: 4\r\n", 1) + auth + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.0 twice": "GET /api/organizations/ HTTP/1.0\r\nConnection: keep-alive, close\r\n" + auth + "\r\n",
	} {
		if statuses, bodies := s.onTheWire(text); len(statuses) != 1 || statuses[0] != 200 || strings.Contains(strings.Join(bodies, ""), "elsewhere") {
			t.Errorf("%s: %v %.200q", name, statuses, bodies)
		}
	}
}
