package cluster

import (
	"os"
	"syscall"
)

// beginFlush has the disk begin to take a part of a file, and does not wait: a long file that is synced at once at its end
// would hold up the syncs of the log for as long as that takes. Whether it works does not matter.
func beginFlush(f *os.File, from, n int64) {
	const write = 2 // SYNC_FILE_RANGE_WRITE
	_ = syscall.SyncFileRange(int(f.Fd()), from, n, write)
}
