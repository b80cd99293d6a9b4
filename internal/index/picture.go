package index

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rackdns/rackdns/internal/registry"
)

// The file of a picture: a header of fixed size, which is written anew in place
// while nothing changes, and a body. Numbers are big-endian, lengths and the
// numbers of the body are varints.
//
//	magic, confirmed, length of the body, CRC-32C of the body, CRC-32C of the header
//	length of meta, meta (JSON); then for each entry: key, value, revision, preservedUntil
const (
	pictureMagic  = "rackdns picture 1\n"
	pictureHeader = len(pictureMagic) + 8 + 8 + 4 + 4
	// mostPicture is the largest file that is written or read, in octets.
	mostPicture = 512 << 20
	// PictureSuffix is how the names of these files end.
	PictureSuffix = ".picture"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errPicture says why a file can't be used.
type errPicture struct{ error }

// picture is all that an index needs to go on where another one has been.
type picture struct {
	meta    pictureMeta
	entries []pictureEntry
	// confirmed is when the registry last said that this was so.
	confirmed time.Time
}

type pictureMeta struct {
	Rack, Prefix string
	Position     registry.Position
	// Serial and Offset are those of the serials.
	Serial, Offset int64
	Revision       int64
	// Kept are the ends of preserved services and resources, by their keys.
	Kept map[string]time.Time `json:",omitempty"`
}

// pictureEntry is a key of the registry. An instance that is preserved has no
// revision, and an end instead.
type pictureEntry struct {
	key            string
	value          []byte
	revision       int64
	preservedUntil int64
}

// pictureFile returns the file of a rack's picture in a directory.
func pictureFile(dir string, l registry.Layout, prefix string) string {
	// A prefix may have slashes, and two of them may differ in these alone.
	return filepath.Join(dir, fmt.Sprintf("%s-%08x%s", l.Rack(), crc32.Checksum([]byte(prefix), castagnoli), PictureSuffix))
}

func header(confirmed time.Time, length uint64, sum uint32) []byte {
	h := append(make([]byte, 0, pictureHeader), pictureMagic...)
	h = binary.BigEndian.AppendUint64(h, uint64(confirmed.UnixNano()))
	h = binary.BigEndian.AppendUint64(h, length)
	h = binary.BigEndian.AppendUint32(h, sum)
	return binary.BigEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
}

// write writes the picture in the place of the file, which is the old one or the
// new one at any moment. It returns the file, open, for [confirm].
func (p *picture) write(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	err = p.writeTo(f)
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}

// writeTo writes the picture, and returns when it is on disk.
func (p *picture) writeTo(f *os.File) error {
	body := &summed{w: bufio.NewWriterSize(f, 1<<18)}
	if _, err := body.w.Write(make([]byte, pictureHeader)); err != nil {
		return err
	}
	if err := p.writeBody(body); err != nil {
		return err
	}
	if err := body.w.Flush(); err != nil {
		return err
	}
	if _, err := f.WriteAt(header(p.confirmed, body.length, body.sum), 0); err != nil {
		return err
	}
	return f.Sync()
}

func (p *picture) writeBody(w *summed) error {
	meta, err := json.Marshal(p.meta)
	if err != nil {
		return err
	}
	w.bytes(meta)
	for n := range p.entries {
		e := &p.entries[n]
		w.bytes([]byte(e.key))
		w.bytes(e.value)
		w.number(e.revision)
		w.number(e.preservedUntil)
	}
	if w.err == nil && w.length > mostPicture {
		w.err = fmt.Errorf("the picture has over %d MiB", mostPicture>>20)
	}
	return w.err
}

// summed sums up what is written.
type summed struct {
	w      *bufio.Writer
	sum    uint32
	length uint64
	buf    [binary.MaxVarintLen64]byte
	err    error
}

func (s *summed) write(b []byte) {
	if s.err != nil || s.length > mostPicture {
		return
	}
	s.sum = crc32.Update(s.sum, castagnoli, b)
	s.length += uint64(len(b))
	_, s.err = s.w.Write(b)
}

func (s *summed) number(n int64) { s.write(s.buf[:binary.PutVarint(s.buf[:], n)]) }

func (s *summed) bytes(b []byte) {
	s.number(int64(len(b)))
	s.write(b)
}

// confirm notes in the file that the registry has said again that this is so.
func confirm(f *os.File, at time.Time) error {
	h := make([]byte, pictureHeader)
	if _, err := f.ReadAt(h, 0); err != nil {
		return err
	}
	length, sum, err := readHeader(h)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(header(at, length, sum), 0)
	return err
}

func readHeader(h []byte) (length uint64, sum uint32, err error) {
	switch {
	case len(h) < pictureHeader:
		return 0, 0, errPicture{errors.New("is cut off")}
	case !bytes.HasPrefix(h, []byte(pictureMagic)):
		return 0, 0, errPicture{errors.New("is of another version, or no picture")}
	}
	end := pictureHeader - 4
	if crc32.Checksum(h[:end], castagnoli) != binary.BigEndian.Uint32(h[end:]) {
		return 0, 0, errPicture{errors.New("is damaged")}
	}
	at := len(pictureMagic) + 8
	return binary.BigEndian.Uint64(h[at:]), binary.BigEndian.Uint32(h[at+8:]), nil
}

// readPicture reads a file that [picture.write] wrote. An errPicture says what is
// wrong with it; there may be none.
func readPicture(path string) (*picture, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if i, err := f.Stat(); err != nil {
		return nil, err
	} else if i.Size() > mostPicture+int64(pictureHeader) {
		return nil, errPicture{fmt.Errorf("has over %d MiB", mostPicture>>20)}
	}
	all, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	length, sum, err := readHeader(all)
	if err != nil {
		return nil, err
	}
	body := all[pictureHeader:]
	if uint64(len(body)) != length || crc32.Checksum(body, castagnoli) != sum {
		return nil, errPicture{errors.New("is damaged or cut off")}
	}
	p := &picture{confirmed: time.Unix(0, int64(binary.BigEndian.Uint64(all[len(pictureMagic):])))}
	r := &pictureReader{rest: body}
	if err := json.Unmarshal(r.bytes(), &p.meta); err != nil {
		return nil, errPicture{fmt.Errorf("its description: %w", err)}
	}
	for len(r.rest) > 0 && !r.failed {
		p.entries = append(p.entries, pictureEntry{
			key: string(r.bytes()),
			// The values outlive all else that was read.
			value: bytes.Clone(r.bytes()), revision: r.number(), preservedUntil: r.number(),
		})
	}
	if r.failed {
		return nil, errPicture{errors.New("has an entry that isn't one")}
	}
	return p, nil
}

type pictureReader struct {
	rest   []byte
	failed bool
}

func (r *pictureReader) number() int64 {
	n, used := binary.Varint(r.rest)
	if used <= 0 {
		r.failed, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[used:]
	return n
}

func (r *pictureReader) bytes() []byte {
	n := r.number()
	if n < 0 || n > int64(len(r.rest)) {
		r.failed, r.rest = true, nil
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// draw takes a picture of what the builder has. Values are shared, so that it
// takes little more than a list of them.
func (b *builder) draw(prefix string) *picture {
	p := &picture{meta: pictureMeta{
		Rack: b.layout.Rack(), Prefix: prefix, Serial: b.serial, Offset: b.offset, Revision: b.revision, Kept: maps.Clone(b.loss.keptRecords),
	}}
	p.entries = make([]pictureEntry, 0, b.size+len(b.records))
	for key, r := range b.records {
		p.entries = append(p.entries, pictureEntry{key: key, value: r.raw, revision: r.revision})
	}
	for k, i := range b.instances.each() {
		p.entries = append(p.entries, pictureEntry{
			key: b.layout.Instance(k.Owner, k.Name), value: i.value(), revision: i.revision, preservedUntil: i.preservedUntil,
		})
	}
	return p
}

// load makes the builder, which must be new, what the picture shows.
func (b *builder) load(p *picture) {
	b.beginList(false)
	var entries []registry.Entry
	kept := map[registry.Key]pictureEntry{}
	for _, e := range p.entries {
		key, err := b.layout.Parse(e.key)
		if err == nil && e.preservedUntil != 0 && key.Kind == registry.KindInstance {
			kept[key] = e
			continue
		}
		entries = append(entries, registry.Entry{Key: e.key, Value: e.value, ModRevision: e.revision})
	}
	for len(entries) > 0 {
		n := min(len(entries), 5000)
		b.applyBatch(entries[:n])
		entries = entries[n:]
	}
	b.endList(p.meta.Revision)
	for k, e := range kept {
		if r, err := registry.DecodeInstance(k, e.value); err == nil {
			b.swap(k, nil, newInstance(r, e.value, 0).preservedCopy(time.Unix(e.preservedUntil, 0)), p.meta.Revision)
		}
	}
	if len(kept) > 0 {
		b.loss.told = &preserved{began: len(kept)}
	}
	for key, until := range p.meta.Kept {
		if b.records[key] != nil {
			b.loss.keptRecords[key] = until
		}
	}
	b.serial, b.offset, b.revision = p.meta.Serial, p.meta.Offset, p.meta.Revision
}

// prefixOf is where a configuration has its registry.
func prefixOf(cfg registry.Config) string {
	if cfg.Prefix == "" {
		return registry.DefaultPrefix
	}
	return strings.TrimSuffix(cfg.Prefix, "/")
}
