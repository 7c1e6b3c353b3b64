package cluster

import (
	"os"

	"golang.org/x/sys/windows"
)

func lockFile(f *os.File) error {
	// A byte far behind the text, so that others can still read the text.
	ol := windows.Overlapped{Offset: 1 << 20}
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &ol)
}
