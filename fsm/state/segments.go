package state

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// The stream of a snapshot is cut into segments, so that several processors can compress them at once. By the magic in
// front, each is a zstd frame of its own, or S2 blocks, each with its length in front (4 bytes, little endian).
const (
	segmentSize = 128 << 10 // short, so that a processor is soon free again for a commit
	segmentJobs = 2         // compressed at once
	// blockSize is as long as S2 gets by with a table that fits a processor's first cache, which makes it several times
	// as fast as with longer blocks. What rows have in common is nearby: they come by table and key.
	blockSize   = 16<<10 - 1
	segmentMost = snapRecord + 2*segmentSize // the longest, uncompressed, that is believed
)

// segmentWriter compresses what is written to it and sums up what comes out. Use it from one goroutine, and Close it.
type segmentWriter struct {
	w      io.Writer
	sum    hash.Hash
	pack   func(dst, src []byte) []byte // makes a segment; safe for concurrent use
	st     *Store                       // whose machine must not be held up
	index  uint64                       // that the machine had applied at the last look
	buf    []byte
	queue  chan *segment // in order
	free   chan *segment
	failed atomic.Bool
	done   chan error // of drain, once
}

// segment is a part on its way.
type segment struct {
	in, out []byte
	ready   chan struct{} // closed once out is compressed
}

var errStopped = errors.New("the writer has failed")

// newSegmentWriter begins a stream after its magic, which is not compressed and says how the segments are.
func newSegmentWriter(w io.Writer, st *Store, magic string) (*segmentWriter, error) {
	s := &segmentWriter{w: w, sum: sha256.New(), pack: packS2, st: st, index: st.AppliedIndex(),
		queue: make(chan *segment, segmentJobs), free: make(chan *segment, 2*segmentJobs), done: make(chan error, 1)}
	if magic == snapMagic {
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(segmentJobs), zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderCRC(false), zstd.WithWindowSize(segmentSize)) // the whole has a checksum
		if err != nil {
			return nil, fmt.Errorf("make the encoder of a snapshot: %w", err)
		}
		s.pack = func(dst, src []byte) []byte { return enc.EncodeAll(src, dst) }
	}
	for range cap(s.free) {
		s.free <- &segment{}
	}
	if err := s.out([]byte(magic)); err != nil {
		return nil, err
	}
	go s.drain()
	return s, nil
}

// packS2 makes S2 blocks of src behind dst.
func packS2(dst, src []byte) []byte {
	for len(src) > 0 {
		part := src[:min(blockSize, len(src))]
		src = src[len(part):]
		at := len(dst)
		dst = slices.Grow(dst, 4+s2.MaxEncodedLen(len(part)))
		n := len(s2.Encode(dst[at+4:cap(dst)], part))
		dst = dst[:at+4+n]
		binary.LittleEndian.PutUint32(dst[at:], uint32(n))
	}
	return dst
}

func (s *segmentWriter) out(p []byte) error {
	_, _ = s.sum.Write(p) // a hash never fails
	if _, err := s.w.Write(p); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// drain writes segments in order. After an error it only lets them go.
func (s *segmentWriter) drain() {
	var err error
	for seg := range s.queue {
		<-seg.ready
		if err == nil {
			if err = s.out(seg.out); err != nil {
				s.failed.Store(true)
			}
		}
		s.free <- seg
	}
	s.done <- err
}

// Write is io.Writer's. After a failure it may go on for a while; Close tells what has failed.
func (s *segmentWriter) Write(p []byte) (int, error) {
	if s.failed.Load() {
		return 0, errStopped
	}
	s.buf = append(s.buf, p...)
	s.full()
	return len(p), nil
}

// full sends the segment once it is long enough.
func (s *segmentWriter) full() {
	if len(s.buf) >= segmentSize {
		s.send()
	}
}

// send has a segment compressed. While the machine applies entries, it waits for that and then rests for longer than
// it has worked: commits are not to wait for a processor.
func (s *segmentWriter) send() {
	seg := <-s.free
	seg.in, s.buf = s.buf, seg.in[:0]
	ready := make(chan struct{})
	seg.ready = ready
	s.queue <- seg
	began := time.Now()
	go func() {
		seg.out = s.pack(seg.out[:0], seg.in)
		close(ready)
	}()
	index := s.st.AppliedIndex()
	if index == s.index {
		return
	}
	s.index = index
	<-ready
	time.Sleep(min(2*time.Since(began), 20*time.Millisecond))
}

// Close writes what is left, waits for it, and puts the checksum of all behind it. It tells the first failure.
func (s *segmentWriter) Close() error {
	if len(s.buf) > 0 {
		s.send()
	}
	close(s.queue)
	if err := <-s.done; err != nil {
		return err
	}
	if _, err := s.w.Write(s.sum.Sum(nil)); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// recordStream is the stream of a snapshot, uncompressed. Close it.
type recordStream struct {
	io.Reader
	at    func() uint64 // bytes of the file that what was read took, about
	close func()
}

// openStream reads the magic of a snapshot and gives what follows.
func openStream(body *bodyReader) (*recordStream, error) {
	magic := make([]byte, len(snapMagic))
	if n, err := io.ReadFull(body, magic); err != nil {
		return nil, fmt.Errorf("%w a snapshot: it ends after %d bytes: %w", ErrDecode, n, err)
	}
	switch string(magic) {
	case snapMagic:
		z, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
		if err != nil {
			return nil, fmt.Errorf("read snapshot: %w", err)
		}
		return &recordStream{Reader: z, at: func() uint64 { return body.given }, close: z.Close}, nil
	case snapMagicS2:
		s := newSegmentReader(body)
		return &recordStream{Reader: s, at: func() uint64 { return s.seg.at }, close: s.close}, nil
	}
	return nil, fmt.Errorf("%w: this is no snapshot of Muster, or one of a form that this version does not know", ErrDecode)
}

// segmentReader reads S2 segments. A goroutine of its own decodes ahead of who reads.
type segmentReader struct {
	queue chan decoded
	free  chan []byte
	stop  chan struct{}
	over  chan struct{} // closed when the goroutine has ended
	seg   decoded       // in use; of rest, not read yet
	rest  []byte
}

// decoded is one segment, or why there are no more.
type decoded struct {
	data []byte
	at   uint64 // where it ends in the file
	err  error
}

func newSegmentReader(body io.Reader) *segmentReader {
	const ahead = 32
	s := &segmentReader{queue: make(chan decoded, ahead), free: make(chan []byte, ahead+2), stop: make(chan struct{}), over: make(chan struct{})}
	go s.run(bufio.NewReaderSize(body, 2*segmentSize))
	return s
}

// run decodes until there is an error, which io.EOF is, too.
func (s *segmentReader) run(in *bufio.Reader) {
	defer close(s.over)
	at := uint64(len(snapMagicS2))
	var packed []byte
	for {
		var d decoded
		select {
		case d.data = <-s.free:
		default:
		}
		if packed, d.err = nextSegment(in, packed); d.err == nil {
			at += 4 + uint64(len(packed))
			if d.data, d.err = s2.Decode(d.data[:cap(d.data)], packed); d.err != nil {
				d.err = fmt.Errorf("a segment before byte %d: %w", at, d.err)
			}
		}
		d.at = at
		select {
		case s.queue <- d:
		case <-s.stop:
			return
		}
		if d.err != nil {
			return
		}
	}
}

// nextSegment reads a segment as it is, into buf if it fits.
func nextSegment(in *bufio.Reader, buf []byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return buf, err // io.EOF between two segments
	}
	n := int(binary.LittleEndian.Uint32(head[:]))
	if n > s2.MaxEncodedLen(segmentMost) {
		return buf, fmt.Errorf("a segment of %d bytes", n)
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(in, buf); errors.Is(err, io.EOF) {
		return buf, io.ErrUnexpectedEOF
	} else if err != nil {
		return buf, fmt.Errorf("the rest of a segment of %d bytes: %w", n, err)
	}
	if n, err := s2.DecodedLen(buf); err != nil || n > segmentMost {
		return buf, fmt.Errorf("a segment that holds %d bytes (%v)", n, err)
	}
	return buf, nil
}

// Read is io.Reader's.
func (s *segmentReader) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.seg.err != nil {
			return 0, s.seg.err
		}
		if s.seg.data != nil {
			select {
			case s.free <- s.seg.data:
			default:
			}
		}
		s.seg = <-s.queue
		if s.rest = s.seg.data; s.seg.err != nil {
			s.rest = nil
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// close ends the goroutine, and waits until it no longer reads.
func (s *segmentReader) close() {
	close(s.stop)
	<-s.over
}
