// Package folder keeps an organization as a folder of files, in the layout of the published client (docs/api-contract.md,
// section 4.5): it reads and writes the folder, reads the same from a server, tells them apart, and makes the server like
// the folder.
//
// A folder speaks only of what it holds. A field that a document lacks stays as it is on the server, and so does what is
// in a collection that has no folder. Fields that only the server sets (uuid, version, state, ...) count nowhere.
//
// A folder may come from anybody. It is read without following a link, its files must be plain ones and not too large,
// and its documents are checked before anything is sent.
package folder
