// Package convox is the rack in the formats of Convox's API and commands, for
// the programs and people who know those. It only reads a snapshot of the
// index.
package convox
