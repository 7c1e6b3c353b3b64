package state

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// The stream of a snapshot is cut into segments, so that several processors can work on them at once. By the magic in
// front, each is a zstd frame of its own, or blocks. A block is its length (4 bytes, little endian), the CRC-32C of that
// length and of what follows, then so many bytes of S2. After the last comes a block of no length, whose checksum is that
// of all checksums before it, in order: no block can be damaged, missing, doubled or another snapshot's.
const (
	segmentSize = 128 << 10 // short, so that a processor is soon free again for a commit
	segmentJobs = 2         // worked on at once
	// blockSize is as long as S2 gets by with a table that fits a processor's first cache, which makes it several times
	// as fast as with longer blocks. What rows have in common is nearby: they come by table and key.
	blockSize = 16<<10 - 1
	blockHead = 8 // length and checksum
)

// segmentWriter compresses what is written to it and sums up what comes out. Use it from one goroutine, and Close it.
type segmentWriter struct {
	w      io.Writer
	all    summer
	pack   func(dst, src []byte) []byte // makes a segment; safe for concurrent use
	st     *Store                       // whose machine must not be held up
	index  uint64                       // that the machine had applied at the last look
	buf    []byte
	queue  chan *segment // in order
	free   chan *segment
	failed atomic.Bool
	done   chan error // of drain, once
}

// summer makes the end of a stream from its segments.
type summer interface {
	add(segment []byte)
	end() []byte
}

// wholeSum is the SHA-256 of all bytes.
type wholeSum struct{ hash.Hash }

func (s wholeSum) add(p []byte) { _, _ = s.Write(p) } // a hash never fails
func (s wholeSum) end() []byte  { return s.Sum(nil) }

// blockSums sums up the checksums of blocks.
type blockSums struct {
	table *crc32.Table
	sum   uint32
}

func newBlockSums() *blockSums { return &blockSums{table: crc32.MakeTable(crc32.Castagnoli)} }

// head is a block's for the data.
func (s *blockSums) head(data []byte) (h [blockHead]byte) {
	binary.LittleEndian.PutUint32(h[:], uint32(len(data)))
	binary.LittleEndian.PutUint32(h[4:], crc32.Update(crc32.Update(0, s.table, h[:4]), s.table, data))
	return h
}

// note takes a block into account.
func (s *blockSums) note(head []byte) { s.sum = crc32.Update(s.sum, s.table, head[4:blockHead]) }

func (s *blockSums) add(p []byte) {
	for len(p) > 0 {
		s.note(p)
		p = p[blockHead+binary.LittleEndian.Uint32(p):]
	}
}

func (s *blockSums) end() []byte {
	return binary.LittleEndian.AppendUint32(make([]byte, 4, blockHead), s.sum)
}

// newSegmentWriter begins a stream after its magic, which is not compressed and says how the segments are.
func newSegmentWriter(w io.Writer, st *Store, magic string) (*segmentWriter, error) {
	sums := newBlockSums()
	s := &segmentWriter{w: w, all: sums, pack: sums.packS2, st: st, index: st.AppliedIndex(),
		queue: make(chan *segment, segmentJobs), free: make(chan *segment, 2*segmentJobs), done: make(chan error, 1)}
	if magic == snapMagic {
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(segmentJobs), zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderCRC(false), zstd.WithWindowSize(segmentSize)) // the whole has a checksum
		if err != nil {
			return nil, fmt.Errorf("make the encoder of a snapshot: %w", err)
		}
		s.all = wholeSum{sha256.New()}
		s.all.add([]byte(magic))
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

// segment is a part on its way.
type segment struct {
	in, out []byte
	ready   chan struct{} // closed once out is compressed
}

var errStopped = errors.New("the writer has failed")

// packS2 makes blocks of src behind dst.
func (s *blockSums) packS2(dst, src []byte) []byte {
	for len(src) > 0 {
		part := src[:min(blockSize, len(src))]
		src = src[len(part):]
		at := len(dst)
		dst = slices.Grow(dst, blockHead+s2.MaxEncodedLen(len(part)))
		n := len(s2.Encode(dst[at+blockHead:cap(dst)], part))
		dst = dst[:at+blockHead+n]
		head := s.head(dst[at+blockHead:])
		copy(dst[at:], head[:])
	}
	return dst
}

func (s *segmentWriter) out(p []byte) error {
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
			s.all.add(seg.out)
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

// Close writes what is left, waits for it, and puts the end of the stream behind it. It tells the first failure.
func (s *segmentWriter) Close() error {
	if len(s.buf) > 0 {
		s.send()
	}
	close(s.queue)
	if err := <-s.done; err != nil {
		return err
	}
	return s.out(s.all.end())
}

// recordStream is the stream of a snapshot, uncompressed. Close it.
type recordStream struct {
	io.Reader
	at    func() uint64 // bytes of the file that what was read took, about
	good  func() bool   // says, once all was read, whether the checksum is that of what was given
	close func()
}

// openStream reads the magic of a snapshot and gives what follows.
func openStream(r io.Reader) (*recordStream, error) {
	magic := make([]byte, len(snapMagic))
	if n, err := io.ReadFull(r, magic); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%w a snapshot: it ends after %d bytes", ErrDecode, n)
	} else if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	switch string(magic) {
	case snapMagic:
		body := &bodyReader{r: r, sum: sha256.New(), given: uint64(len(magic))}
		_, _ = body.sum.Write(magic)
		z, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
		if err != nil {
			return nil, fmt.Errorf("read snapshot: %w", err)
		}
		return &recordStream{Reader: z, at: func() uint64 { return body.given }, good: body.good, close: z.Close}, nil
	case snapMagicS3:
		s := newSegmentReader(r)
		return &recordStream{Reader: s, at: func() uint64 { return s.seg.at }, good: func() bool { return true }, close: s.close}, nil
	case snapMagicNext:
		return nil, &SchemaError{What: "the snapshot", Known: Schema}
	}
	return nil, fmt.Errorf("%w: this is no snapshot of Muster, or one of a form that this version does not know", ErrDecode)
}

// segmentReader reads blocks, and checks each before it gives anything of it. A goroutine of its own decodes ahead of who
// reads.
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
	err  error  // io.EOF after the end of the stream
}

func newSegmentReader(r io.Reader) *segmentReader {
	const ahead = 16
	s := &segmentReader{queue: make(chan decoded, ahead), free: make(chan []byte, ahead+2), stop: make(chan struct{}), over: make(chan struct{})}
	go s.run(&blockReader{in: bufio.NewReaderSize(r, 2*segmentSize), sums: newBlockSums(), at: uint64(len(snapMagicS3))})
	return s
}

// run decodes until there is an error, which io.EOF is, too.
func (s *segmentReader) run(in *blockReader) {
	defer close(s.over)
	for {
		var d decoded
		select {
		case d.data = <-s.free:
		default:
			d.data = make([]byte, 0, segmentSize+blockSize)
		}
		d.data = d.data[:0]
		for d.err == nil && len(d.data) < segmentSize {
			d.data, d.err = in.next(d.data)
		}
		d.at = in.at
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

// blockReader reads blocks.
type blockReader struct {
	in   *bufio.Reader
	sums *blockSums
	at   uint64 // where the last one ends in the file
}

// next puts what a block holds behind dst. After the end of the stream the error is io.EOF. It waits for what lies
// behind the end: nothing may.
func (b *blockReader) next(dst []byte) ([]byte, error) {
	head, err := b.in.Peek(blockHead)
	if err != nil {
		return dst, b.cut(err)
	}
	n := int(binary.LittleEndian.Uint32(head))
	if n == 0 {
		return dst, b.end(head)
	}
	if n > s2.MaxEncodedLen(blockSize) {
		return dst, fmt.Errorf("a block of %d bytes after byte %d", n, b.at)
	}
	all, err := b.in.Peek(blockHead + n)
	if err != nil {
		return dst, b.cut(err)
	}
	head, data := all[:blockHead], all[blockHead:]
	if want := b.sums.head(data); !bytes.Equal(want[:], head) {
		return dst, fmt.Errorf("the checksum of the block after byte %d does not match", b.at)
	}
	long, err := s2.DecodedLen(data)
	if err != nil || long == 0 || long > blockSize {
		return dst, fmt.Errorf("a block that holds %d bytes after byte %d (%v)", long, b.at, err)
	}
	old := len(dst)
	dst = slices.Grow(dst, long)
	if _, err := s2.Decode(dst[old:old+long], data); err != nil {
		return dst, fmt.Errorf("the block after byte %d: %w", b.at, err)
	}
	b.sums.note(head)
	b.at += uint64(len(all))
	_, _ = b.in.Discard(len(all)) // they are there
	return dst[:old+long], nil
}

// end checks the last block.
func (b *blockReader) end(head []byte) error {
	if !bytes.Equal(head, b.sums.end()) {
		return fmt.Errorf("its checksum does not match: what came before byte %d is not all of one snapshot", b.at)
	}
	_, _ = b.in.Discard(blockHead)
	b.at += blockHead
	switch _, err := b.in.ReadByte(); {
	case err == nil:
		return fmt.Errorf("something follows its end at byte %d", b.at)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("read snapshot: %w", err)
	}
	return io.EOF
}

// cut makes an end that came too early an error.
func (b *blockReader) cut(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("it ends within the block after byte %d: %w", b.at, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("read snapshot: %w", err)
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
		s.rest = s.seg.data
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
