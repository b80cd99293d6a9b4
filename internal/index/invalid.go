package index

import (
	"slices"
	"strings"
)

// InvalidEntry is an entry of the registry that is skipped, since it can't be
// used.
type InvalidEntry struct{ Key, Why string }

// InvalidEntries returns the entries that are skipped, by key. The caller must not
// change them.
func (s *Snapshot) InvalidEntries() []InvalidEntry { return s.invalid }

// accept takes note that a key has nothing any more that can't be used.
func (b *builder) accept(key string) {
	if _, ok := b.invalid[key]; ok {
		delete(b.invalid, key)
		b.invalidList = nil
	}
}

// invalidEntries returns what is skipped, by key.
func (b *builder) invalidEntries() []InvalidEntry {
	if b.invalidList == nil && len(b.invalid) > 0 {
		for k, r := range b.invalid {
			b.invalidList = append(b.invalidList, InvalidEntry{k, r.why})
		}
		slices.SortFunc(b.invalidList, func(x, y InvalidEntry) int { return strings.Compare(x.Key, y.Key) })
	}
	return b.invalidList
}
