package index

import (
	"maps"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

type numbered = pair[string, int]

func contents(t pairs[string, int]) map[string]int {
	all := map[string]int{}
	for e := range t.all() {
		all[e.name] = e.value
	}
	return all
}

// TestTrieIsAMap drives a trie and a standard map alike, and takes snapshots
// in between, which later changes must not reach.
func TestTrieIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type snap struct {
			trie pairs[string, int]
			want map[string]int
		}
		var (
			tr    pairs[string, int]
			o     = owner(1)
			model = map[string]int{}
			snaps []snap
		)
		keys := rapid.IntRange(0, 300)
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				k, v := strconv.Itoa(keys.Draw(t, "key")), rapid.Int().Draw(t, "value")
				tr.set(o, numbered{k, v})
				model[k] = v
			},
			"delete": func(t *rapid.T) {
				k := strconv.Itoa(keys.Draw(t, "key"))
				tr.delete(o, k)
				delete(model, k)
			},
			"snapshot": func(*rapid.T) {
				snaps = append(snaps, snap{tr, maps.Clone(model)})
				o++
			},
			"": func(t *rapid.T) {
				if tr.size != len(model) {
					t.Fatalf("size is %d, want %d", tr.size, len(model))
				}
				k := strconv.Itoa(keys.Draw(t, "key"))
				got, ok := tr.get(k)
				if want, wantOK := model[k]; got.value != want || ok != wantOK {
					t.Fatalf("get(%s) = %d, %v, want %d, %v", k, got.value, ok, want, wantOK)
				}
			},
		})
		for _, s := range append(snaps, snap{tr, model}) {
			if diff := cmp.Diff(s.want, contents(s.trie)); diff != "" {
				t.Fatalf("a snapshot changed: %s", diff)
			}
		}
	})
}

// TestTrieChurns has a trie grow and shrink, over and over, and looks at what it
// is made of.
func TestTrieChurns(t *testing.T) {
	type snap struct {
		trie pairs[string, int]
		want map[string]int
	}
	for seed := range uint64(8) {
		var (
			r     = rand.New(rand.NewPCG(seed, 0))
			tr    pairs[string, int]
			o     = owner(1)
			model = map[string]int{}
			snaps []snap
		)
		for step := range 4000 {
			k := strconv.Itoa(r.IntN(400))
			// A thousand steps of mostly one, then of mostly the other.
			if r.IntN(10) < 8 == (step/1000%2 == 0) {
				tr.set(o, numbered{k, step})
				model[k] = step
			} else {
				tr.delete(o, k)
				delete(model, k)
			}
			if r.IntN(50) == 0 {
				snaps = append(snaps, snap{tr, maps.Clone(model)})
				o++
			}
		}
		for _, s := range append(snaps, snap{tr, model}) {
			if n := soundSize(t, &s.trie.root, 0); n != s.trie.size || n != len(s.want) {
				t.Fatalf("seed %d: %d entries, size is %d, want %d", seed, n, s.trie.size, len(s.want))
			}
			if diff := cmp.Diff(s.want, contents(s.trie)); diff != "" {
				t.Fatalf("seed %d: a snapshot changed: %s", seed, diff)
			}
			for k := range s.want {
				if _, ok := s.trie.get(k); !ok {
					t.Fatalf("seed %d: %s is not found", seed, k)
				}
			}
		}
	}
}

// soundSize returns how many entries there are below a node, and fails if the
// node is not as it should be.
func soundSize(t *testing.T, n *trieNode[string, numbered, *numbered], used uint) int {
	t.Helper()
	if n.branch == nil {
		for at, e := range n.entries {
			if at < fullLeaf && n.tags[at] != tagOf(hashOf(e.name)) {
				t.Fatalf("%s has another's tag", e.name)
			}
		}
		if len(n.entries) > fullLeaf && used < deepest {
			t.Fatalf("a leaf has %d entries", len(n.entries))
		}
		return len(n.entries)
	}
	size := 0
	for at := range n.branch.nodes {
		size += soundSize(t, &n.branch.nodes[at], used+levelBits)
	}
	if size != n.branch.size || size <= sparseBranch || len(n.entries) != 0 {
		t.Fatalf("a branch of %d entries says %d, and has %d itself", size, n.branch.size, len(n.entries))
	}
	return size
}

// TestTrieSurvivesEqualHashes goes to where no bits are left to branch by, and
// more keys than a leaf has tags for live side by side.
func TestTrieSurvivesEqualHashes(t *testing.T) {
	const many = fullLeaf + 8
	o := owner(1)
	n := trieNode[string, numbered, *numbered]{owner: o}
	for i := range many {
		if !n.set(o, deepest, 0, &numbered{strconv.Itoa(i), i}) {
			t.Fatalf("%d was there before", i)
		}
	}
	if n.branch != nil {
		t.Fatal("there is a branch where there is nothing to branch by")
	}
	for _, i := range []int{1, many - 1} {
		if n.set(o, deepest, 0, &numbered{strconv.Itoa(i), -i}) || n.entries[n.find(0, strconv.Itoa(i))].value != -i {
			t.Fatalf("setting %d again did not replace its value", i)
		}
	}
	n.drop(n.find(0, strconv.Itoa(many-2)))
	if n.find(0, strconv.Itoa(many-2)) >= 0 || n.find(0, strconv.Itoa(many-1)) < 0 || n.find(0, "0") < 0 {
		t.Fatalf("deleting one of %d left %v", many, n.entries)
	}
	if n.find(0, "x") >= 0 {
		t.Fatal("found what was not there")
	}
}

// TestTrieShrinks checks that what remains after many deletions is as flat as
// if the deleted keys had never been there.
func TestTrieShrinks(t *testing.T) {
	var tr pairs[int, int]
	o := owner(1)
	for i := range 10000 {
		tr.set(o, pair[int, int]{i, i})
	}
	if tr.root.branch == nil || tr.root.branch.size != 10000 {
		t.Error("ten thousand keys are not in a branch that knows how many they are")
	}
	for i := range 9999 {
		tr.delete(o, i)
	}
	if tr.root.branch != nil || len(tr.root.entries) != 1 {
		t.Errorf("one key is left in a root with %d entries, branch: %t", len(tr.root.entries), tr.root.branch != nil)
	}
	tr.delete(o, 9999)
	if len(tr.root.entries) != 0 || tr.size != 0 {
		t.Errorf("an empty trie keeps root %v, size %d", tr.root, tr.size)
	}
}
