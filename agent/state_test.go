package agent

import (
	"testing"
	"time"
)

// An agent that was killed may leave its lock behind for a moment; the next start waits for it.
func TestOpenStateWaitsForALockThatIsGoing(t *testing.T) {
	dir := t.TempDir()
	first, err := OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	time.AfterFunc(100*time.Millisecond, func() { gone <- first.Close() })
	second, err := OpenState(dir)
	if err != nil {
		t.Fatalf("a lock that was let go after 100 ms: %v", err)
	}
	defer second.Close()
	if err := <-gone; err != nil {
		t.Fatal(err)
	}
}
