package directories

import (
	"errors"
	"syscall"
)

// isNotEmpty: POSIX allows either number.
func isNotEmpty(err error) bool {
	return errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST)
}
