//go:build unix

package cluster

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// diskSpace is what the disk under a folder holds: bytes that this user can still write, and all of it.
func diskSpace(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("asking for the free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}
