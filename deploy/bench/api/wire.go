package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// asked is a request, made once and sent as it is: the client's own work must not stand in for the server's.
type asked struct {
	text   []byte
	status int // that the answer must have
}

// newAsked makes a request. header are whole lines.
func newAsked(method, path, body string, status int, header ...string) asked {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: bench\r\n", method, path)
	for _, h := range header {
		b.WriteString(h + "\r\n")
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return asked{b.Bytes(), status}
}

// wire is one connection that stays open.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
}

func dial(ctx context.Context, address string) (*wire, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return &wire{conn, bufio.NewReaderSize(conn, 64<<10)}, nil
}

// ask sends a request, reads its answer, and gives the size of the body.
func (w *wire) ask(a asked) (int, error) {
	if err := w.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, err
	}
	if _, err := w.conn.Write(a.text); err != nil {
		return 0, err
	}
	line, err := w.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || string(line[9:12]) != strconv.Itoa(a.status) {
		return 0, fmt.Errorf("the answer is %q, not %d", strings.TrimSpace(string(line)), a.status)
	}
	size := -1
	for {
		line, err := w.in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			break
		}
		if rest, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if size, err = strconv.Atoi(string(bytes.TrimSpace(rest))); err != nil {
				return 0, err
			}
		}
	}
	if size < 0 {
		return 0, errors.New("the answer does not say how long it is")
	}
	_, err = w.in.Discard(size)
	return size, err
}

// rate asks over some connections at once for a time, and gives the answers a second.
func rate(ctx context.Context, address string, a asked, clients int, warm, during time.Duration) (float64, error) {
	errs, counts := make([]error, clients), make([]int, clients)
	var wg sync.WaitGroup
	begin := time.Now().Add(warm)
	end := begin.Add(during)
	for c := range clients {
		wg.Go(func() {
			w, err := dial(ctx, address)
			if err != nil {
				errs[c] = err
				return
			}
			defer w.conn.Close() //nolint:errcheck // all was read
			for ctx.Err() == nil {
				if _, err := w.ask(a); err != nil {
					errs[c] = err
					return
				}
				if now := time.Now(); now.After(end) {
					return
				} else if now.After(begin) {
					counts[c]++
				}
			}
		})
	}
	wg.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	if err := errors.Join(append(errs, ctx.Err())...); err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("asking %s: %w", address, err)
	}
	return float64(total) / during.Seconds(), nil
}
