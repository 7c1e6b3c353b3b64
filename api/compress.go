package api

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/muster-hq/muster/fsm/model"
)

// minCompressed is from how many bytes on an answer is compressed: less fits into one packet anyway.
const minCompressed = 1400

// maxWindow bounds what a zstd body may make a decoder keep, in bytes. It is what RFC 8878 asks decoders to support.
const maxWindow = 8 << 20

// compressors make answers small. They are safe for concurrent use.
type compressors struct {
	zstd *zstd.Encoder
	gzip sync.Pool // of *gzip.Writer
}

func newCompressors() (*compressors, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("make a compressor: %w", err)
	}
	return &compressors{zstd: z}, nil
}

// compress is b in a coding, "gzip" or "zstd".
func (k *compressors) compress(coding string, b []byte) ([]byte, error) {
	if coding == "zstd" {
		return k.zstd.EncodeAll(b, make([]byte, 0, len(b)/4)), nil
	}
	w, ok := k.gzip.Get().(*gzip.Writer)
	if !ok {
		var err error
		if w, err = gzip.NewWriterLevel(nil, gzip.BestSpeed); err != nil {
			return nil, err
		}
	}
	defer k.gzip.Put(w)
	out := bytes.NewBuffer(make([]byte, 0, len(b)/4))
	w.Reset(out)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// compressed makes an answer small if the caller takes that, and if it holds no secret: the size of an answer that holds
// one beside something that another chose tells of it (the attack known as BREACH). So only documents that were read are
// made small, and of these not what names a password, a token or a secret, nor what holds values of settings without what
// they are.
func (c *call) compressed(r reply) reply {
	if r.kind != kindJSON || len(r.body) < minCompressed || !c.reads() || r.status != http.StatusOK {
		return r
	}
	c.header.Add("Vary", "Accept-Encoding")
	coding := chosenCoding(c.req.Header.Values("Accept-Encoding"))
	if coding == "" || c.clear || mayTellSecrets(c.route.Name) || c.route.Name != "openapi.show" && namesSecret(r.body) {
		return r
	}
	small, err := c.srv.compressors.compress(coding, r.body)
	if err != nil || len(small) >= len(r.body) {
		return r
	}
	c.header.Set("Content-Encoding", coding)
	r.body = small
	r.tag = codedTag(r.tag, coding)
	return r
}

// mayTellSecrets tells the routes whose answers hold values without their schemas, or addresses that are secrets.
func mayTellSecrets(route string) bool {
	for _, part := range []string{"origin-settings", "settings.explain", ".link.", "impact", "tree.settings", "preview", "account", "events"} {
		if strings.Contains(route, part) {
			return true
		}
	}
	return false
}

// namesSecret tells whether a document has a field for a secret that is not empty or false.
func namesSecret(doc []byte) bool {
	for {
		i := bytes.IndexByte(doc, '"')
		if i < 0 {
			return false
		}
		doc = doc[i+1:]
		for _, name := range []string{"secret", "password", "token", "secretKey", "jwtToken"} {
			if len(doc) < len(name)+2 || doc[len(name)] != '"' || doc[len(name)+1] != ':' || !bytes.EqualFold(doc[:len(name)], []byte(name)) {
				continue
			}
			value := doc[len(name)+2:]
			if !bytes.HasPrefix(value, []byte("false")) && !bytes.HasPrefix(value, []byte("null")) && !bytes.HasPrefix(value, []byte(`""`)) {
				return true
			}
		}
	}
}

// chosenCoding is the coding of ours that the header Accept-Encoding prefers; "" is none.
func chosenCoding(accept []string) string {
	best, coding := 0.0, ""
	for _, line := range accept {
		for word := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(word, ";")
			name, q := strings.ToLower(strings.TrimSpace(name)), 1.0
			if value, ok := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q="); ok {
				var err error
				if q, err = strconv.ParseFloat(value, 64); err != nil {
					q = 0
				}
			}
			if (name == "gzip" || name == "zstd") && (q > best || q == best && q > 0 && name == "zstd") {
				best, coding = q, name
			}
		}
	}
	return coding
}

// decoded reads a body through its Content-Encoding. What it becomes is bounded by the limits of the body, as is what came.
func decoded(h http.Header, body io.ReadCloser) (io.ReadCloser, error) {
	coding := strings.ToLower(strings.TrimSpace(strings.Join(h.Values("Content-Encoding"), ",")))
	switch coding {
	case "", "identity":
		return body, nil
	case "gzip":
		return &decodedBody{coding: coding, from: body, open: func(r io.Reader) (io.Reader, func(), error) {
			z, err := gzip.NewReader(r)
			return z, func() {}, err
		}}, nil
	case "zstd":
		return &decodedBody{coding: coding, from: body, open: func(r io.Reader) (io.Reader, func(), error) {
			z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
			if err != nil {
				return nil, nil, err
			}
			return z, z.Close, nil
		}}, nil
	}
	return nil, &statusError{http.StatusUnsupportedMediaType, model.Errorf(model.Invalid, "Content-Encoding: %q is not known here: send gzip, zstd, or the body as it is", coding)}
}

// decodedBody opens its decoder with the first byte that is asked for.
type decodedBody struct {
	coding string
	from   io.ReadCloser
	open   func(io.Reader) (io.Reader, func(), error)
	to     io.Reader
	end    func()
}

// Read gives what the bytes stand for.
func (d *decodedBody) Read(p []byte) (n int, err error) {
	if d.to == nil {
		if d.to, d.end, err = d.open(d.from); err != nil {
			d.to, d.end = nil, nil
		}
	}
	if err == nil {
		n, err = d.to.Read(p)
	}
	var large *http.MaxBytesError
	switch {
	case err == nil || errors.Is(err, io.EOF) && d.to != nil || errors.As(err, &large):
		return n, err
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return n, model.Errorf(model.Invalid, "Content-Encoding: the body wants a window of more than %d bytes: compress it with less", maxWindow)
	}
	return n, &model.Error{Code: model.Invalid, Messages: []string{"Content-Encoding: the body is not " + d.coding + ", or broken off"}, Err: err}
}

// Close ends the decoder, and the reading of what it reads.
func (d *decodedBody) Close() error {
	if d.end != nil {
		d.end()
	}
	return d.from.Close()
}
