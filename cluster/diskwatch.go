package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/muster-hq/muster/fsm/model"
)

// diskWatch knows how a node's disk does: what is free on it, and how long writes to the raft log take. A leader whose
// disk is nearly full, or slow, hands its office over (design section 5): all others wait for its disk.
type diskWatch struct {
	slow    time.Duration // a write that takes longer is slow
	reserve int64         // less free bytes are nearly full; 0 is the rule of nearlyFull
	begin   time.Time
	writing atomic.Int64           // when the write under way began, since begin; 0 is none
	last    atomic.Pointer[string] // what the last slow write was like; nil when that is long ago
	low     atomic.Pointer[string] // why the disk is nearly full; nil when it is not
}

func newDiskWatch(t Timing, reserve int64) *diskWatch {
	return &diskWatch{slow: t.SlowWrite, reserve: reserve, begin: time.Now()}
}

// wrote notes a write to the log around f. Raft writes from one goroutine.
func (w *diskWatch) wrote(f func() error) error {
	began := max(time.Since(w.begin), 1)
	w.writing.Store(int64(began))
	err := f()
	w.writing.Store(0)
	if took := time.Since(w.begin) - began; took > w.slow {
		text := fmt.Sprintf("a write to the raft log took %s", took.Round(time.Millisecond))
		w.last.Store(&text)
	}
	return err
}

// stuck is how long the write under way has taken, if that is too long; else 0.
func (w *diskWatch) stuck() time.Duration {
	at := w.writing.Load()
	if at == 0 {
		return 0
	}
	if d := time.Since(w.begin) - time.Duration(at); d > w.slow {
		return d
	}
	return 0
}

// trouble is why this node should not lead; "" when nothing is wrong with its disk.
func (w *diskWatch) trouble() string {
	if t := w.blocks(); t != "" {
		return t
	}
	if p := w.last.Load(); p != nil {
		return *p
	}
	return ""
}

// blocks is why this node should not serve; "" when nothing is wrong now.
func (w *diskWatch) blocks() string {
	if d := w.stuck(); d > 0 {
		return fmt.Sprintf("a write to the raft log has taken %s and has not ended", d.Round(time.Second))
	}
	if p := w.low.Load(); p != nil {
		return *p
	}
	return ""
}

// nearlyFull is the rule where none is configured: less than 64 MiB, or on a small disk less than a fiftieth of it.
func nearlyFull(free, total int64) bool { return free < min(64<<20, total/50) }

// NearlyFull is the rule where no reserve is configured: less than 64 MiB of the bytes of a disk are free, or on a small
// disk less than a fiftieth of it.
func NearlyFull(free, total int64) bool { return nearlyFull(free, total) }

// DiskSpace asks the system for the bytes of the disk under a folder: free for this user, and in all.
func DiskSpace(dir string) (free, total int64, err error) { return diskSpace(dir) }

// look notes what is free. True when that is news.
func (w *diskWatch) look(free, total int64) (changed bool) {
	low := nearlyFull(free, total)
	if w.reserve > 0 {
		low = free < w.reserve
	}
	was := w.low.Load() != nil
	if low {
		text := fmt.Sprintf("the disk is nearly full: %d KiB of %d MiB are free", free>>10, total>>20)
		w.low.Store(&text)
	} else {
		w.low.Store(nil)
	}
	return low != was
}

// watchDisk looks at the disk until ctx ends, and hands over leadership when something is wrong with it.
func (n *Node) watchDisk(ctx context.Context) {
	w := n.disk.watch
	tick := time.NewTicker(n.cfg.Timing.DiskCheck)
	defer tick.Stop()
	told, forget := "", 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if free, total, err := n.cfg.Disk.Space(n.cfg.DataDir); err != nil {
			n.log.Debug("the free space of the data folder is not known", "error", err)
		} else if w.look(free, total) {
			if p := w.low.Load(); p != nil {
				n.log.Error("make room: "+*p, "data", n.cfg.DataDir)
			} else {
				n.log.Info("the disk has room again", "data", n.cfg.DataDir)
			}
		}
		trouble := w.trouble()
		if trouble == "" {
			told, forget = "", 0
			continue
		}
		if n.IsLeader() && n.voterCount() > 1 && w.stuck() == 0 { // while it is stuck, raft hears nothing; see silent
			if err := n.relieve(ctx, trouble); err != nil && told != err.Error() {
				told = err.Error()
				n.log.Warn("leadership stays here, though "+trouble, "error", err)
			}
		}
		if forget++; forget > slowIsForgotten {
			w.last.Store(nil)
			forget = 0
		}
	}
}

// slowIsForgotten is after how many looks a write that was slow no longer counts.
const slowIsForgotten = 30

var errNobodyBetter = errors.New("no other voter answers whose disk is well")

// relieve hands leadership to a voter whose disk is well.
func (n *Node) relieve(ctx context.Context, trouble string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*n.cfg.Timing.Attempt)
	defer cancel()
	err := errNobodyBetter
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage != raft.Voter || string(s.ID) == n.cfg.Name {
			continue
		}
		in, e := n.askInfo(ctx, string(s.Address))
		if e != nil || in.Disk != "" {
			continue
		}
		n.log.Warn("leadership is handed over: "+trouble, "to", in.Name, "data", n.cfg.DataDir)
		if err = n.handOver(ctx, in.Name); err == nil {
			return nil
		}
	}
	return err
}

// silent says that this node must not be heard as a leader: its log has been stuck for too long. Raft's own goroutine
// waits for the disk and cannot step down, while others send heartbeats in its name, and nobody could commit anything.
func (n *Node) silent() bool { return n.disk.watch.stuck() > 0 }

// diskReady is Ready's word on the disk.
func (n *Node) diskReady() error {
	if t := n.disk.watch.blocks(); t != "" {
		return model.Errorf(model.Unavailable, "%s", t)
	}
	return nil
}
