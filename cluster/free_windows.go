package cluster

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// diskSpace is what the disk under a folder holds: bytes that this user can still write, and all of it.
func diskSpace(dir string) (free, total int64, err error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, fmt.Errorf("asking for the free space of %s: %w", dir, err)
	}
	var mine, all, any uint64
	if err := windows.GetDiskFreeSpaceEx(path, &mine, &all, &any); err != nil {
		return 0, 0, fmt.Errorf("asking for the free space of %s: %w", dir, err)
	}
	return int64(mine), int64(all), nil
}
