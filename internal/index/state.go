package index

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// A picture is written at most so often, and takes at most a part of the time
// of one processor: pictureShare times as long as it took passes until the next.
const (
	pictureInterval = 10 * time.Second
	pictureShare    = 50
)

// keeper keeps the last picture of an index on disk. All but the writing itself
// is done by the goroutine that follows the registry.
type keeper struct {
	path, prefix string
	index        *Index

	interval time.Duration
	// changed says that the picture on disk isn't the last one.
	changed bool
	next    time.Time
	// file is that of the last picture that was written.
	file      *os.File
	confirmed time.Time
	failed    bool

	writing sync.WaitGroup
	// results has what came of the last writing.
	results chan written
}

type written struct {
	file *os.File
	took time.Duration
	err  error
}

func newKeeper(x *Index, dir string, cfg registry.Config) *keeper {
	prefix := prefixOf(cfg)
	return &keeper{
		path: pictureFile(dir, x.client.Layout(), prefix), prefix: prefix, index: x,
		interval: pictureInterval, results: make(chan written, 1),
	}
}

// load has the index begin with the picture on disk, if there is one that can be
// used, and returns how far that had read.
func (k *keeper) load() (registry.Position, bool) {
	p, err := readPicture(k.path)
	log := k.index.log.With("rack", k.index.Rack(), "file", k.path)
	var unusable errPicture
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return registry.Position{}, false
	case errors.As(err, &unusable):
		log.Warn("the last picture of the rack can't be used, and is written anew once the registry was read", "why", unusable.error)
		return registry.Position{}, false
	case err != nil:
		log.Warn("the last picture of the rack can't be read", "error", err)
		return registry.Position{}, false
	case p.meta.Rack != k.index.Rack() || p.meta.Prefix != k.prefix:
		log.Warn("the last picture is of another rack, and is not used", "of", p.meta.Rack, "prefix", p.meta.Prefix)
		return registry.Position{}, false
	}
	x := k.index
	x.builder.load(p)
	x.confirmed.Store(p.confirmed.UnixNano())
	x.publish()
	close(x.synced)
	log.Info("answering from the last picture of the rack until its registry is read", "age", x.Age().Round(time.Second), "revision", p.meta.Revision)
	return p.meta.Position, true
}

// tick writes what is due.
func (k *keeper) tick(now time.Time, at func() registry.Position) {
	select {
	case w := <-k.results:
		k.note(w, now)
	default:
	}
	if now.Before(k.next) || k.index.Snapshot() == nil || k.index.confirmed.Load() == 0 {
		return
	}
	k.next = now.Add(k.interval)
	if !k.changed {
		k.refresh()
		return
	}
	k.begin(at())
}

// begin writes a picture of the present, in a goroutine of its own.
func (k *keeper) begin(at registry.Position) {
	k.changed = false
	p := k.index.builder.draw(k.prefix)
	p.meta.Position = at
	p.confirmed = time.Unix(0, k.index.confirmed.Load())
	// Until it is written.
	k.next = k.next.Add(time.Hour)
	k.writing.Go(func() {
		start := time.Now()
		f, err := p.write(k.path)
		k.results <- written{f, time.Since(start), err}
	})
}

// note takes note of what came of a writing.
func (k *keeper) note(w written, now time.Time) {
	k.next = now.Add(max(k.interval, pictureShare*w.took))
	if w.err != nil {
		k.changed = true
		if !k.failed {
			k.index.log.Warn("can't keep the last picture of the rack on disk: a restart without the registry would know less, or nothing", "rack", k.index.Rack(), "file", k.path, "error", w.err)
		}
		k.failed = true
		return
	}
	if k.failed {
		k.index.log.Info("the last picture of the rack is kept on disk again", "rack", k.index.Rack(), "file", k.path)
	}
	k.failed = false
	k.closeFile()
	k.file = w.file
}

// refresh notes in the file that the registry still says so.
func (k *keeper) refresh() {
	at := time.Unix(0, k.index.confirmed.Load())
	if k.file == nil || at.Equal(k.confirmed) {
		return
	}
	if err := confirm(k.file, at); err != nil {
		k.changed = true // then it is written anew, which says what is wrong
		return
	}
	k.confirmed = at
}

// close writes what is left. It is for after the follower has ended.
func (k *keeper) close(at registry.Position) {
	k.writing.Wait()
	select {
	case w := <-k.results:
		k.note(w, time.Now())
	default:
	}
	if k.index.confirmed.Load() != 0 && k.index.Snapshot() != nil {
		if k.changed {
			k.begin(at)
			k.writing.Wait()
			k.note(<-k.results, time.Now())
		} else {
			k.refresh()
		}
	}
	k.closeFile()
}

func (k *keeper) closeFile() {
	if k.file != nil {
		_ = k.file.Close() // it was synced when it was written
	}
	k.file = nil
}
