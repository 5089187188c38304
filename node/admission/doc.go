// Package admission decides which transactions a replica takes from clients, which of them enter a batch of its lane
// next, and what clients are told.
package admission
