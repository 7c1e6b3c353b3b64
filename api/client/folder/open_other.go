//go:build !unix

package folder

// nonblock is for systems with named pipes in folders.
const nonblock = 0
