package state

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
)

// The stream of a snapshot is cut into segments, each a zstd frame of its own: one reader reads them all as one stream,
// and several processors can compress them at once.
const (
	segmentSize = 128 << 10 // short, so that a processor is soon free again for a commit
	segmentJobs = 2         // compressed at once
)

// segmentWriter compresses what is written to it and sums up what comes out. Use it from one goroutine, and Close it.
type segmentWriter struct {
	w      io.Writer
	sum    hash.Hash
	enc    *zstd.Encoder
	st     *Store // whose machine must not be held up
	index  uint64 // that the machine had applied at the last look
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

// newSegmentWriter begins a stream after head, which is not compressed.
func newSegmentWriter(w io.Writer, st *Store, head string) (*segmentWriter, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(segmentJobs), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(segmentSize)) // the whole has a checksum
	if err != nil {
		return nil, fmt.Errorf("make the encoder of a snapshot: %w", err)
	}
	s := &segmentWriter{w: w, sum: sha256.New(), enc: enc, st: st, index: st.AppliedIndex(),
		queue: make(chan *segment, segmentJobs), free: make(chan *segment, 2*segmentJobs), done: make(chan error, 1)}
	for range cap(s.free) {
		s.free <- &segment{}
	}
	if err := s.out([]byte(head)); err != nil {
		return nil, err
	}
	go s.drain()
	return s, nil
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
	if len(s.buf) >= segmentSize {
		s.send()
	}
	return len(p), nil
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
		seg.out = s.enc.EncodeAll(seg.in, seg.out[:0])
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
	err := errors.Join(<-s.done, s.enc.Close())
	if err != nil {
		return err
	}
	if _, err := s.w.Write(s.sum.Sum(nil)); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}
