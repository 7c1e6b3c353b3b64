package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/muster-hq/muster/fsm/model"
	"github.com/muster-hq/muster/fsm/seal"
	"github.com/muster-hq/muster/fsm/state"
)

// The cluster's keys wrap the keys that rows are sealed with. They are in a file of each member and in no row, so neither
// log nor snapshot opens without that file. Rows say which is in use. A rotation names the next one, waits until every
// member that answers has it, then makes it the one in use, and wraps all again. Old keys stay in the files: snapshots
// of before need them.

// clusterKeyFile is the name of the file below DATA/pki.
const clusterKeyFile = "cluster-keys"

// keeper is a node's file of cluster keys.
type keeper struct {
	ring  *seal.Keyring
	path  string
	mu    sync.Mutex      // held while the file is written
	lacks []string        // ids that the state names and this node has not
	said  map[string]bool // lines that the wait for keys has logged since this node last had all
	told  sync.Mutex      // guards lacks and said
}

// ClusterKeyPath is the file of cluster keys in a node's data folder.
func ClusterKeyPath(dataDir string) string { return filepath.Join(dataDir, "pki", clusterKeyFile) }

// loadKeys reads the file; none is no error, as a node of before there were keys has none.
func loadKeys(dataDir string) (*keeper, error) {
	k := &keeper{ring: &seal.Keyring{}, path: ClusterKeyPath(dataDir)}
	text, err := os.ReadFile(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's keys: %w", err)
	}
	if k.ring, err = seal.ParseKeyring(text); err != nil {
		return nil, fmt.Errorf("the file of the cluster's keys, %s, is damaged: put it back from another member or from your copy, or remove it, "+
			"if other members run, and this node gets the keys from them: %w", k.path, err)
	}
	return k, nil
}

// add puts keys into the file, then to use.
func (k *keeper) add(keys ...*seal.Key) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := &seal.Keyring{}
	next.Add(k.ring.Keys()...)
	if !next.Add(keys...) {
		return nil
	}
	if err := writeSynced(k.path, next.Text()); err != nil {
		return err
	}
	if err := syncFolder(filepath.Dir(k.path)); err != nil { // what is sealed with a key that is lost is lost
		return err
	}
	k.ring.Add(keys...)
	return nil
}

// ImportKeys adds keys to those in the data folder of a stopped node, and gives the ids of the ones that were not there. A file
// of keys that is damaged is moved aside first, to one that ends in .damaged. It is refused while a server runs on the folder.
func ImportKeys(dataDir string, keys *seal.Keyring) (added []string, err error) {
	lock, err := lockFolder(dataDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	k, err := loadKeys(dataDir)
	if errors.Is(err, seal.ErrForm) {
		path := ClusterKeyPath(dataDir)
		if err = os.Rename(path, path+".damaged"); err == nil {
			k, err = loadKeys(dataDir)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("importing keys: %w", err)
	}
	for _, id := range keys.IDs() {
		if !k.ring.Has(id) {
			added = append(added, id)
		}
	}
	return added, k.add(keys.Keys()...)
}

// missing are the keys that a state names and this node has not.
func (k *keeper) missing(r state.Reader) []string {
	return slices.DeleteFunc(state.NamedKeys(r), k.ring.Has)
}

// ready is nil when the node had all keys that its state names, when it looked last.
func (k *keeper) ready() error {
	k.told.Lock()
	defer k.told.Unlock()
	if len(k.lacks) == 0 {
		return nil
	}
	return model.Errorf(model.Unavailable, "this node lacks the cluster key %s, which its state is sealed with: it asks the other members for it; "+
		"if none has it, stop this one and give it your copy (muster cluster key import), or the file %s of one that had it", strings.Join(k.lacks, ", "), k.path)
}

// news says whether a line differs from all that was logged since this node last had its keys: each state is told once.
func (k *keeper) news(line string) bool {
	k.told.Lock()
	defer k.told.Unlock()
	if k.said[line] {
		return false
	}
	if k.said == nil {
		k.said = map[string]bool{}
	}
	k.said[line] = true
	return true
}

// forgetNews lets all be told again.
func (k *keeper) forgetNews() {
	k.told.Lock()
	defer k.told.Unlock()
	k.said = nil
}

// holdKeys gets keys that the state names and this node lacks from the other members, until ctx ends.
func (n *Node) holdKeys(ctx context.Context) {
	said := ""
	for {
		ws := state.NewWatchSet()
		missing := n.keys.missing(n.Local().Watched(ws))
		if len(missing) > 0 {
			if err := n.fetchKeys(ctx, missing); err != nil {
				n.log.Debug("fetching cluster keys", "error", err)
			}
			missing = n.keys.missing(n.Local())
		}
		n.keys.told.Lock()
		n.keys.lacks = missing
		n.keys.told.Unlock()
		if now := strings.Join(missing, " "); now != said {
			if said = now; said != "" {
				n.log.Error("this node cannot read all of its state, and does not lead", "error", n.keys.ready())
			}
		}
		wait, cancel := ctx, context.CancelFunc(func() {})
		if len(missing) > 0 {
			wait, cancel = context.WithTimeout(ctx, 500*time.Millisecond)
		}
		_ = ws.Wait(wait)
		cancel()
		if ctx.Err() != nil {
			return
		}
	}
}

// fetchKeys asks the other members for keys, until it has all.
func (n *Node) fetchKeys(ctx context.Context, ids []string) error {
	body, err := json.Marshal(ids)
	if err != nil {
		return fmt.Errorf("asking for keys: %w", err)
	}
	var errs []error
	for _, m := range n.Members() {
		if m.Name == n.cfg.Name {
			continue
		}
		errs = append(errs, n.fetchKeysAt(ctx, m.ClusterAddr, body, ids))
		if !slices.ContainsFunc(ids, func(id string) bool { return !n.keys.ring.Has(id) }) {
			return nil
		}
	}
	return errors.Join(errs...)
}

func (n *Node) fetchKeysAt(ctx context.Context, addr string, body []byte, ids []string) error {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Timing.Attempt)
	defer cancel()
	text, err := n.rpc.ask(ctx, addr, opKeys, body)
	if err != nil || len(text) == 0 {
		return err
	}
	ring, err := seal.ParseKeyring(text)
	if err != nil {
		return fmt.Errorf("keys of %s: %w", addr, err)
	}
	keys := slices.DeleteFunc(ring.Keys(), func(k *seal.Key) bool { return !slices.Contains(ids, k.ID()) })
	if err := n.keys.add(keys...); err != nil {
		return err
	}
	n.log.Info("got cluster keys from another member", "addr", addr, "keys", ring)
	return nil
}

// giveKeys answers another member's question for keys: with those of them that this node has.
func (n *Node) giveKeys(body []byte) ([]byte, error) {
	ids, err := decodeKeyIDs(body)
	if err != nil {
		return nil, err
	}
	out := &seal.Keyring{}
	for _, id := range ids {
		if k, err := n.keys.ring.Get(id); err == nil {
			out.Add(k)
		}
	}
	if len(out.IDs()) == 0 {
		return nil, nil
	}
	return out.Text(), nil
}

func decodeKeyIDs(body []byte) ([]string, error) {
	var ids []string
	if err := json.Unmarshal(body, &ids); err != nil {
		return nil, fmt.Errorf("%w: a question for keys: %w", errFrame, err)
	}
	return ids, nil
}

// rotateKeys is a duty: it makes the first key of the cluster, drives a rotation that was asked for, and wraps with the
// key in use what is wrapped with another.
func (n *Node) rotateKeys(ctx context.Context, lead *Lead) error {
	for ctx.Err() == nil {
		pause := n.cfg.Timing.Reconcile
		ws := state.NewWatchSet()
		v := n.Local().Watched(ws)
		done, err := true, error(nil)
		if state.SchemaOf(v) >= state.SchemaSeals {
			done, err = n.stepKeys(ctx, lead, v)
		}
		if err != nil {
			return err
		}
		if !done {
			pause = min(pause, 100*time.Millisecond)
		}
		wait, cancel := context.WithTimeout(ctx, pause)
		_ = ws.Wait(wait)
		cancel()
	}
	return ctx.Err()
}

// stepKeys does what is next; done says that nothing is.
func (n *Node) stepKeys(ctx context.Context, lead *Lead, v *state.View) (done bool, err error) {
	k := state.ClusterKeysOf(v)
	switch {
	case k.Next != "" && n.keys.ring.Has(k.Next):
		if !n.allHold(ctx, k.Next) {
			return false, nil
		}
		n.log.Info("all members have the cluster key: it is in use from now on", "key", k.Next, "was", k.Active)
		return false, lead.Update(ctx, func(tx *state.Tx) error {
			now := state.ClusterKeysOf(tx)
			if now.Next != k.Next {
				return nil
			}
			if now.Active != "" {
				now.Round++
			}
			now.Active, now.Next, now.Since = k.Next, "", tx.Now()
			return state.PutClusterKeys(tx, now)
		})
	case k.Next != "" && n.fetchKeys(ctx, []string{k.Next}) == nil && n.keys.ring.Has(k.Next):
		return false, nil
	case k.Next != "" || k.Active == "" || k.Asked: // what was to be next went with the leader who made it: nothing is wrapped with it
		return false, n.nextKey(ctx, lead, k)
	}
	return true, n.rewrap(ctx, lead, v, k.Active)
}

// nextKey makes a key and names it as the next.
func (n *Node) nextKey(ctx context.Context, lead *Lead, was state.ClusterKeys) error {
	key := seal.NewKey()
	if err := n.keys.add(key); err != nil {
		return err
	}
	n.log.Info("made a cluster key: it is given to all members", "key", key)
	return lead.Update(ctx, func(tx *state.Tx) error {
		now := state.ClusterKeysOf(tx)
		if now != was {
			return nil
		}
		now.Next, now.Asked = key.ID(), false
		return state.PutClusterKeys(tx, now)
	})
}

// rewrapBatch is how many domains' keys one commit wraps anew.
const rewrapBatch = 64

var errOther = errors.New("wrapped with another key")

func wrappedBy(w seal.Wrapped, id string) error {
	if w.By != id {
		return errOther
	}
	return nil
}

// rewrap wraps with the key in use what is wrapped with another.
func (n *Node) rewrap(ctx context.Context, lead *Lead, v *state.View, active string) error {
	var domains []string
	for _, d := range state.AllDataKeys(v) {
		if d.Each(func(w seal.Wrapped, _ string) error { return wrappedBy(w, active) }) != nil {
			domains = append(domains, d.Domain)
		}
	}
	for batch := range slices.Chunk(domains, rewrapBatch) {
		err := lead.Update(ctx, func(tx *state.Tx) error {
			for _, domain := range batch {
				if _, err := state.RewrapDataKeys(tx, domain); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("wrapping keys with the cluster key in use: %w", err)
		}
	}
	if len(domains) > 0 {
		n.log.Info("wrapped keys with the cluster key in use", "number", len(domains), "key", active)
	}
	return nil
}

// allHold says whether every member that answers has the key, and a majority answers.
func (n *Node) allHold(ctx context.Context, id string) bool {
	members := n.Members()
	mu, wg, have, all := sync.Mutex{}, sync.WaitGroup{}, 0, true
	for _, m := range members {
		wg.Go(func() {
			in, err := n.askInfo(ctx, m.ClusterAddr)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil || !in.is(&m):
			case slices.Contains(in.ClusterKeys, id):
				have++
			default:
				all = false
			}
		})
	}
	wg.Wait()
	return all && have > len(members)/2 && ctx.Err() == nil
}

// keyPatience is how long the duties of a new leader wait for keys before another is asked to lead.
const keyPatience = 3 * time.Second

// awaitKeys waits until this node has all keys that the state names, and the cluster one in use, unless a member is too
// old for that. A leader that lacks one hands over. False when ctx has ended.
func (n *Node) awaitKeys(ctx context.Context) bool {
	patience := time.NewTimer(keyPatience)
	defer patience.Stop()
	tell := func(level slog.Level, text string, args ...any) { // each duty waits here, and again every few seconds
		if n.keys.news(fmt.Sprint(text, args)) {
			n.log.Log(ctx, level, text, args...)
		}
	}
	for ctx.Err() == nil {
		ws := state.NewWatchSet()
		v := n.Local().Watched(ws)
		missing := n.keys.missing(v)
		if len(missing) == 0 && (state.ClusterKeysOf(v).Active != "" || n.sealsNothing(v)) {
			n.keys.forgetNews()
			return true
		}
		wait, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		_ = ws.Wait(wait)
		cancel()
		select {
		case <-patience.C:
			if len(missing) == 0 {
				tell(slog.LevelWarn, "the cluster has no key yet: what is stored now is not sealed before it has")
				return true
			}
			patience.Reset(keyPatience)
			tell(slog.LevelError, "this node cannot lead without a key", "keys", strings.Join(missing, ", "))
			if n.voterCount() > 1 {
				if err := n.handOver(ctx, ""); err != nil {
					tell(slog.LevelWarn, "leadership stays here, though a key is missing", "error", err)
				}
			}
		default:
		}
	}
	return false
}

// sealsNothing says whether some member is too old for sealed rows.
func (n *Node) sealsNothing(r state.Reader) bool {
	return n.cfg.Schema < int(state.SchemaSeals) ||
		slices.ContainsFunc(state.List[Member](r, everyMember), func(m *Member) bool { return m.Schema < int(state.SchemaSeals) })
}

// RotateClusterKey makes the leader give the cluster another key, and waits until all is wrapped with it.
func (n *Node) RotateClusterKey(ctx context.Context) error {
	ctx, cancel := n.deadline(ctx)
	defer cancel()
	round := 0
	err := n.Update(ctx, func(tx *state.Tx) error {
		k := state.ClusterKeysOf(tx)
		if k.Active == "" {
			return model.Errorf(model.Conflict, "the cluster has no key yet: it is still beginning, or a member is of an earlier version")
		}
		round = k.Round
		if k.Asked || k.Next != "" {
			return nil // the one under way will do
		}
		k.Asked = true
		return state.PutClusterKeys(tx, k)
	})
	for err == nil {
		ws := state.NewWatchSet()
		v := n.Local().Watched(ws)
		if s := keyStatusOf(v); state.ClusterKeysOf(v).Round > round && !s.Rotating {
			return nil
		}
		if ws.Wait(ctx) != nil {
			return model.Errorf(model.Unavailable, "the cluster key is not yet rotated on all members; it goes on by itself, and muster cluster status shows how far it is")
		}
	}
	return err
}
