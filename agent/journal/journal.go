// Package journal is the agent's memory of what it was asked, what it did and what it still has to
// tell. It lies on disk and is written before anything is done, so that an agent that dies at any
// moment does nothing twice and forgets nothing. DESIGN.md tells the rules.
package journal

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/muster-hq/muster/dispatch/wire"
)

// FileName is the journal's name within the state directory.
const FileName = "journal"

// defaultCompactAt is the size in bytes from which the journal is rewritten without what is over.
const defaultCompactAt = 4 << 20

// keptOrders is how many orders that are over and confirmed are kept, to answer a late repeat.
const keptOrders = 16

// ErrBroken is wrapped by every call after a write whose effect on the disk is unknown. The process
// has to end: opening the journal again finds out what is there.
var ErrBroken = errors.New("the journal cannot be written any more")

// ErrCorrupt is wrapped by Open for a journal that was damaged other than by being cut off at its end.
var ErrCorrupt = errors.New("the journal is damaged")

// ErrClosed is returned by every call after Close.
var ErrClosed = errors.New("the journal is closed")

// Options are the choices of Open. The zero value works.
type Options struct {
	Log       *slog.Logger // nil: silent
	Disk      Disk         // nil: the real one
	CompactAt int64        // bytes from which the file is rewritten; 0: 4 MiB
}

// Journal is an open journal. Its methods may be called at the same time. A method that returns nil
// has its record on the disk (Receipt excepted); one that returns an error has changed nothing.
type Journal struct {
	mu        sync.Mutex
	log       *slog.Logger
	disk      Disk
	dir       string
	file      File
	size      int64 // of the good part of the file
	compactAt int64
	broken    error
	st        *contents
}

// Open opens the journal of directory dir, or begins one. A last record that was cut off is removed
// with a log line. Damage anywhere else is an error that wraps ErrCorrupt.
func Open(dir string, o Options) (*Journal, error) {
	j := &Journal{log: o.Log, disk: o.Disk, dir: dir, compactAt: o.CompactAt, st: newContents()}
	if j.log == nil {
		j.log = slog.New(slog.DiscardHandler)
	}
	if j.disk == nil {
		j.disk = OS{}
	}
	if j.compactAt <= 0 {
		j.compactAt = defaultCompactAt
	}
	path := filepath.Join(dir, FileName)
	data, err := j.disk.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	good, err := replay(data, j.st)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if j.file, err = j.disk.OpenAppend(path); err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	j.size = int64(good)
	if err := j.begin(path, len(data)); err != nil {
		_ = j.file.Close()
		return nil, err
	}
	return j, nil
}

// begin cuts a torn end off and makes sure that the file has its first line and its name on the disk.
func (j *Journal) begin(path string, found int) error {
	if int64(found) > j.size {
		j.log.Warn("the journal's last record was cut off; removed it", "file", path, "bytes", int64(found)-j.size)
		if err := j.file.Truncate(j.size); err != nil {
			return fmt.Errorf("cut the torn end off the journal: %w", err)
		}
		if err := j.file.Sync(); err != nil {
			return fmt.Errorf("cut the torn end off the journal: %w", err)
		}
	}
	if j.size > 0 {
		return j.name()
	}
	first := record{Kind: kindBegin, Version: formatVersion, ID: rand.Text()}
	if err := j.write(first, true); err != nil {
		return err
	}
	if err := j.st.apply(first); err != nil {
		return err
	}
	if err := j.disk.SyncDir(j.dir); err != nil {
		return fmt.Errorf("keep the journal's name: %w", err)
	}
	return nil
}

// append writes r, applies it to what is in memory, and compacts when it is time. Called with mu held.
func (j *Journal) append(r record, sync bool) error {
	if err := j.write(r, sync); err != nil {
		return err
	}
	if err := j.st.apply(r); err != nil {
		return fmt.Errorf("apply a record of the journal: %w", err) // a mistake of ours: checked before writing
	}
	if j.size >= j.compactAt {
		if err := j.compact(); err != nil {
			j.log.Warn("could not compact the journal; it goes on as it is", "error", err)
			j.compactAt = j.size + defaultCompactAt/4
		}
	}
	return nil
}

// write puts one record at the end of the file. When that fails, the file is cut back to what it was.
func (j *Journal) write(r record, sync bool) error {
	if j.broken != nil {
		return j.broken
	}
	line, err := encode(r)
	if err != nil {
		return err
	}
	_, err = j.file.Write(line)
	if err == nil && sync {
		err = j.file.Sync()
	}
	if err == nil {
		j.size += int64(len(line))
		return nil
	}
	err = fmt.Errorf("write the journal: %w", err)
	cut := j.file.Truncate(j.size)
	if cut == nil {
		cut = j.file.Sync()
	}
	if cut != nil {
		j.broken = fmt.Errorf("%w: %w, and it could not be taken back: %w", ErrBroken, err, cut)
		return j.broken
	}
	return err
}

// compact writes what still matters to a new file and puts it in the place of the old one.
func (j *Journal) compact() error {
	j.st.forgetOld(keptOrders)
	var out []byte
	for _, r := range j.st.records() {
		line, err := encode(r)
		if err != nil {
			return err
		}
		out = append(out, line...)
	}
	path, next := filepath.Join(j.dir, FileName), filepath.Join(j.dir, FileName+".new")
	f, err := j.disk.Create(next)
	if err != nil {
		return fmt.Errorf("begin the new journal: %w", err)
	}
	_, err = f.Write(out)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = j.disk.Rename(next, path)
	}
	if err != nil {
		_ = f.Close()
		_ = j.disk.Remove(next)
		return fmt.Errorf("write the new journal: %w", err)
	}
	// From here on the new file is the journal, whatever the directory's sync says.
	_ = j.file.Close()
	j.file, j.size = f, int64(len(out))
	j.compactAt = max(j.compactAt, 2*j.size)
	if err := j.disk.SyncDir(j.dir); err != nil {
		j.broken = fmt.Errorf("%w: keep the new journal's name: %w", ErrBroken, err)
	}
	return nil
}

// Close closes the file. What was written stays.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if errors.Is(j.broken, ErrClosed) {
		return nil
	}
	j.broken = ErrClosed
	if err := j.file.Close(); err != nil {
		return fmt.Errorf("close the journal: %w", err)
	}
	return nil
}

// Accept makes the order, whose signature the caller has checked, ours. It raises the fence of the
// order's lane. The order is on disk when Accept returns nil. An order that is known
// already is left as it is. seen is the caller's clock, which Seen gives back.
func (j *Journal) Accept(o wire.Order, seen Seen) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, known := j.st.orders[o.ID]; known {
		return nil
	}
	return j.append(record{Kind: kindAccepted, Order: o.ID, Accepted: &o, Seen: &seen}, true)
}

// Cancel notes that no further step of an order is to be begun. One that is over, cancelled or unknown is left as it is.
func (j *Journal) Cancel(orderID string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.st.open(orderID) != nil || j.st.orders[orderID].body.Cancel {
		return nil
	}
	return j.append(record{Kind: kindCancel, Order: orderID}, true)
}

// Cancelled says that no further step of an order is to be begun.
func (j *Journal) Cancelled(orderID string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.st.open(orderID) == nil && j.st.orders[orderID].body.Cancel
}

// Fence is the mark of the highest order that was accepted in a lane.
type Fence struct {
	Epoch    uint64 `json:"epoch"`
	Term     uint64 `json:"term"`
	Sequence uint64 `json:"sequence"`
}

// Below says that f comes strictly before g.
func (f Fence) Below(g Fence) bool {
	if f.Epoch != g.Epoch {
		return f.Epoch < g.Epoch
	}
	if f.Term != g.Term {
		return f.Term < g.Term
	}
	return f.Sequence < g.Sequence
}

// Fence tells the highest mark ever accepted in the lane.
func (j *Journal) Fence(lane wire.Lane) Fence {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.st.fences[lane]
}

// Known says that the order was accepted and is still remembered.
func (j *Journal) Known(order string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, ok := j.st.orders[order]
	return ok
}

// Next returns the oldest order of the lane that is not over, with its progress.
func (j *Journal) Next(lane wire.Lane) (Progress, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var first *order
	for _, o := range j.st.orders {
		if !o.over && o.lane == lane && (first == nil || o.arrival < first.arrival) {
			first = o
		}
	}
	if first == nil {
		return Progress{}, false
	}
	return first.progress(), true
}

// Begin notes that a step is about to be done. note is the caller's, and comes back in Progress when
// the agent dies before the step's outcome. A step may begin again, then the newest note counts.
func (j *Journal) Begin(orderID string, step int, at time.Time, note json.RawMessage) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.st.open(orderID); err != nil {
		return err
	}
	return j.append(record{Kind: kindBegun, Order: orderID, Begun: &Begun{Step: step, At: at.UnixNano(), Note: note}}, true)
}

// Owe is what the outcome of a step says of the debts of a resource: see Journal.Owed.
type Owe struct {
	Key string `json:"key"`
	Yes bool   `json:"yes"`
}

// Finish notes the outcome of a step and returns the reply with its sequence. The reply is outstanding
// until a receipt names it.
func (j *Journal) Finish(r wire.Reply, owe *Owe) (wire.Reply, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.st.open(r.Order); err != nil {
		return r, err
	}
	if _, twice := j.st.orders[r.Order].replies[r.Step]; twice {
		return r, fmt.Errorf("step %d of order %s has its outcome already", r.Step, r.Order)
	}
	r.Sequence = j.st.sequence + 1
	return r, j.append(record{Kind: kindReply, Order: r.Order, Reply: &r, Owe: owe}, true)
}

// Owed says whether an earlier order left a debt at this key: a service that should have been restarted
// for files that changed, but whose step was never reached.
func (j *Journal) Owed(key string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.st.owed[key]
}

// Alert keeps an alert until a receipt names it, and returns it with its sequence. An older alert of
// the same resource that is still outstanding is forgotten: only the last word counts. digest is kept
// for good while the resource is not compliant; see Told.
func (j *Journal) Alert(a wire.Alert, digest string) (wire.Alert, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	a.Sequence = j.st.sequence + 1
	return a, j.append(record{Kind: kindAlert, Alert: &a, Digest: digest}, true)
}

// Told returns the digest of the last alert of a resource, "" when it was last told to be compliant or
// never spoken of in this epoch.
func (j *Journal) Told(collection, resource string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.st.told[Key(collection, resource)]
}

// Forget drops the alerts of a resource that is not watched any more.
func (j *Journal) Forget(collection, resource string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	k := Key(collection, resource)
	if _, told := j.st.told[k]; !told && !j.st.hasAlert(k) {
		return nil
	}
	return j.append(record{Kind: kindForget, Key: k}, true)
}

// Receipt notes that messages have been confirmed. It does not wait for the disk: a receipt that is
// lost only makes the agent repeat itself. Sequences that are not outstanding are ignored.
func (j *Journal) Receipt(sequences []uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var mine []uint64
	for _, s := range sequences {
		if _, ok := j.st.outstanding[s]; ok && !slices.Contains(mine, s) {
			mine = append(mine, s)
		}
	}
	if len(mine) == 0 {
		return nil
	}
	return j.append(record{Kind: kindReceipt, Sequences: mine}, false)
}

// Outstanding returns the messages that no receipt has named yet, in their sequence.
func (j *Journal) Outstanding() []Message {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]Message, 0, len(j.st.outstanding))
	for _, m := range j.st.outstanding {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Message) int { return compare(a.Sequence(), b.Sequence()) })
	return out
}

// Replies returns every stored reply of an order, in their sequence.
func (j *Journal) Replies(orderID string) []wire.Reply {
	j.mu.Lock()
	defer j.mu.Unlock()
	o, ok := j.st.orders[orderID]
	if !ok {
		return nil
	}
	return o.replyList()
}

// NextLogin counts the logins; each number is above all before it, also over restarts, and not below
// floor.
func (j *Journal) NextLogin(floor uint64) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := max(j.st.logins+1, floor)
	return n, j.append(record{Kind: kindLogin, Logins: n}, true)
}

// Seen is the highest time of the organization that was known when an order was accepted, and when that
// was by the machine's time since boot.
type Seen struct {
	Time  time.Time     `json:"time"`
	Boot  string        `json:"boot,omitempty"`  // which boot
	Since time.Duration `json:"since,omitempty"` // how long after it
}

// Seen returns what the last accepted order brought.
func (j *Journal) Seen() Seen {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.st.seen
}

// Counts tells how much is in the journal, for people.
func (j *Journal) Counts() Counts {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.st.counts()
}

// Inspect reads the journal of a directory without opening it for writing: a running agent may own it.
func Inspect(dir string) (Counts, error) {
	data, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		return Counts{}, fmt.Errorf("read the journal: %w", err)
	}
	st := newContents()
	if _, err := replay(data, st); err != nil {
		return Counts{}, fmt.Errorf("%s: %w", filepath.Join(dir, FileName), err)
	}
	return st.counts(), nil
}
