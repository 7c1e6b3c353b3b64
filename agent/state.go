package agent

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/muster-hq/muster/agent/journal"
	"github.com/muster-hq/muster/dispatch/wire"
)

// The files of the state directory, beside the journal and the expected resources.
const (
	lockFile     = "lock"
	keysFile     = "keys.json"
	identityFile = "identity.json"
	caFile       = "ca.pem"
	expectedDir  = "expected"
)

// ErrInUse is wrapped by OpenState when another agent holds the directory.
var ErrInUse = errors.New("the state directory is in use by another agent")

// Identity is what the agent was told when it became a member. It holds no secret.
type Identity struct {
	Agent        string            `json:"agent"`
	Organization string            `json:"organization"`
	Environment  string            `json:"environment"`
	Host         string            `json:"host"`
	Key          ed25519.PublicKey `json:"key"` // the organization's
	Epoch        uint64            `json:"epoch"`
	PinnedCA     bool              `json:"pinnedCA,omitempty"` // the bus is verified by ca.pem alone
}

// keys are the agent's own; they never leave the machine.
type keys struct {
	Ed25519 []byte `json:"ed25519"` // seed
	X25519  []byte `json:"x25519"`
}

// State is the agent's directory on disk, held by this process alone until Close.
type State struct {
	Dir      string
	Key      ed25519.PrivateKey
	Exchange *ecdh.PrivateKey
	Identity *Identity // nil until the agent is a member
	lock     *os.File
}

// lockPatience is how long a start waits for the lock of an agent that was killed: the kernel keeps it
// until the process is gone, and a child that was being started holds it until it becomes its program.
const lockPatience = 2 * time.Second

// takeLock locks f, trying again until patience is over.
func takeLock(f *os.File, patience time.Duration) error {
	for deadline := time.Now().Add(patience); ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// OpenState makes the directory when it is absent, locks it, and makes the agent's keys at the first
// start. Errors tell what is wrong with the directory.
func OpenState(dir string) (*State, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the state directory cannot be made; name another with --state: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the state directory must be writable for this user: %w", err)
	}
	s := &State{Dir: dir, lock: lock}
	if err := takeLock(lock, lockPatience); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w; stop it, or name another directory with --state", dir, ErrInUse)
		}
		return nil, fmt.Errorf("lock the state directory: %w", err)
	}
	err = beginAnew(dir)
	if err == nil {
		err = s.loadKeys()
	}
	if err == nil {
		s.Identity, err = ReadIdentity(dir)
	}
	if err == nil && s.Identity != nil && s.Identity.Agent != s.AgentID() {
		err = fmt.Errorf("%s is of agent %s but the keys beside it are of %s: the directory is a mixture of two", identityFile, s.Identity.Agent, s.AgentID())
	}
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return s, nil
}

// beginAnew clears what is left of an earlier membership when the identity is gone: this machine will be another
// agent. With its old keys the orchestrator would count its orders from the beginning, below the journal's fence,
// and with its old keys but no journal an order of before could be done again. The journal goes last, since it is
// what tells that there is something to clear.
func beginAnew(dir string) error {
	journalFile := filepath.Join(dir, journal.FileName)
	if _, err := os.Lstat(filepath.Join(dir, identityFile)); !errors.Is(err, fs.ErrNotExist) {
		return nil // here, or told by ReadIdentity
	}
	if _, err := os.Lstat(journalFile); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, left := range []string{keysFile, caFile, expectedDir, journal.FileName} {
		if err := os.RemoveAll(filepath.Join(dir, left)); err != nil {
			return fmt.Errorf("clear what is left of an earlier membership: %w", err)
		}
	}
	return nil
}

// Close gives the directory free.
func (s *State) Close() error { return s.lock.Close() }

// AgentID is the id that follows from the agent's key.
func (s *State) AgentID() string {
	return wire.AgentID(s.Key.Public().(ed25519.PublicKey))
}

func (s *State) loadKeys() error {
	path := filepath.Join(s.Dir, keysFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s.makeKeys(path)
	}
	if err != nil {
		return fmt.Errorf("read the agent's keys: %w", err)
	}
	var k keys
	if err := json.Unmarshal(data, &k); err != nil || len(k.Ed25519) != ed25519.SeedSize {
		return fmt.Errorf("%s is damaged: remove the state directory and enrol this machine again", path)
	}
	s.Key = ed25519.NewKeyFromSeed(k.Ed25519)
	if s.Exchange, err = ecdh.X25519().NewPrivateKey(k.X25519); err != nil {
		return fmt.Errorf("%s is damaged: remove the state directory and enrol this machine again", path)
	}
	return nil
}

func (s *State) makeKeys(path string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make the agent's keys: %w", err)
	}
	exchange, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make the agent's keys: %w", err)
	}
	data, err := json.Marshal(keys{Ed25519: key.Seed(), X25519: exchange.Bytes()})
	if err != nil {
		return fmt.Errorf("write the agent's keys: %w", err)
	}
	if err := writeFile(path, data, 0o600); err != nil {
		return fmt.Errorf("keep the agent's keys: %w", err)
	}
	s.Key, s.Exchange = key, exchange
	return nil
}

// ReadIdentity reads the identity in a state directory; nil without an error: not a member yet.
func ReadIdentity(dir string) (*Identity, error) {
	path := filepath.Join(dir, identityFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the agent's identity: %w", err)
	}
	var id Identity
	if err := json.Unmarshal(data, &id); err != nil || id.Agent == "" || len(id.Key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%s is damaged: remove it and enrol this machine again", path)
	}
	return &id, nil
}

// keepIdentity stores what a welcome brought; the CA first, since the identity says that it is there.
func (s *State) keepIdentity(id Identity, ca []byte) error {
	if len(ca) > 0 {
		if err := writeFile(filepath.Join(s.Dir, caFile), ca, 0o600); err != nil {
			return fmt.Errorf("keep the bus's CA: %w", err)
		}
		id.PinnedCA = true
	}
	data, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return fmt.Errorf("write the agent's identity: %w", err)
	}
	if err := writeFile(filepath.Join(s.Dir, identityFile), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("keep the agent's identity: %w", err)
	}
	s.Identity = &id
	return nil
}
