package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// The layout of a bbolt file, version 2. Numbers are in the machine's byte order.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	metaBytes    = 64 // the last 8 are the checksum
	headerBytes  = 16 // page id 8, flags 2, count 2, overflow 4
	elementBytes = 16 // branch: position 4, key size 4, page 8; leaf: flags 4, position 4, key size 4, value size 4
	bucketBytes  = 16 // root page 8, sequence 8

	branchPage = 0x01
	leafPage   = 0x02
	metaPage   = 0x04
	bucketLeaf = 0x01 // flag of a leaf element that is a bucket

	maxDepth = 64
)

var order = binary.NativeEndian

// pages checks the structure of a bbolt file with plain reads, before bbolt maps it: bbolt believes what
// pages say about themselves, follows wrong numbers anywhere, and does so in goroutines whose faults
// nobody can catch. Every page that can be reached is visited, once.
type pages struct {
	file *os.File
	size uint64 // of a page
	end  uint64 // first page that is not in use
	root uint64
	seen []uint64 // bit set
}

// checkPages checks the file at path.
func checkPages(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	p := &pages{file: file}
	return errors.Join(p.check(), file.Close())
}

func (p *pages) check() error {
	if err := p.readMeta(); err != nil {
		return err
	}
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	if want := p.end * p.size; uint64(info.Size()) < want { //nolint:gosec // sizes are positive
		return damaged("it is cut off: it has %d bytes and should have %d", info.Size(), want)
	}
	p.seen = make([]uint64, p.end/64+1)
	return p.tree(p.root, nil, nil, 0)
}

// readMeta takes the newer of the two first pages whose checksum is right, as bbolt does: a crash may
// leave the other half-written.
func (p *pages) readMeta() error {
	newest := uint64(0)
	for _, size := range []uint64{uint64(os.Getpagesize()), 4096, 16384, 65536} { //nolint:gosec // positive
		for i := range uint64(2) {
			b, err := p.read(i*size, headerBytes+metaBytes)
			if errors.Is(err, io.EOF) {
				continue
			}
			if err != nil {
				return err
			}
			m := b[headerBytes:]
			sum := fnv.New64a()
			sum.Write(m[:metaBytes-8])
			valid := order.Uint32(m) == boltMagic && order.Uint32(m[4:]) == boltVersion && uint64(order.Uint32(m[8:])) == size &&
				order.Uint64(m[metaBytes-8:]) == sum.Sum64() && order.Uint16(b[8:]) == metaPage
			if txid := order.Uint64(m[48:]); valid && txid >= newest {
				newest, p.size, p.root, p.end = txid, size, order.Uint64(m[16:]), order.Uint64(m[40:])
			}
		}
		if p.size > 0 {
			return nil
		}
	}
	return damaged("neither of its first two pages has a valid checksum")
}

func (p *pages) read(offset, n uint64) ([]byte, error) {
	b := make([]byte, n)
	_, err := p.file.ReadAt(b, int64(offset)) //nolint:gosec // within the file's size
	return b, err
}

// page is one page with what the file says about it.
type page struct {
	id, bytes uint64
	flags     uint16
	count     uint64
	data      []byte // at least the elements
	more      func(offset, n uint64) ([]byte, error)
}

func (p *pages) page(id uint64) (*page, error) {
	if id < 2 || id >= p.end {
		return nil, damaged("page %d is outside of the file's %d pages", id, p.end)
	}
	data, err := p.read(id*p.size, p.size)
	if err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	overflow := uint64(order.Uint32(data[12:]))
	if order.Uint64(data) != id || overflow >= p.end-id {
		return nil, damaged("page %d says that it is page %d with %d more", id, order.Uint64(data), overflow)
	}
	for n := id; n <= id+overflow; n++ {
		if p.seen[n/64]&(1<<(n%64)) != 0 {
			return nil, damaged("page %d is used twice", n)
		}
		p.seen[n/64] |= 1 << (n % 64)
	}
	pg := &page{id: id, bytes: (overflow + 1) * p.size, flags: order.Uint16(data[8:]), count: uint64(order.Uint16(data[10:])), data: data}
	pg.more = func(offset, n uint64) ([]byte, error) { return p.read(id*p.size+offset, n) }
	err = pg.elements()
	return pg, err
}

// elements makes sure that all elements are in the page, and in data.
func (pg *page) elements() error {
	need := headerBytes + pg.count*elementBytes
	if pg.flags != branchPage && pg.flags != leafPage || need > pg.bytes {
		return damaged("page %d has flags %#x and %d elements in %d bytes", pg.id, pg.flags, pg.count, pg.bytes)
	}
	if need > uint64(len(pg.data)) {
		var err error
		if pg.data, err = pg.more(0, need); err != nil {
			return err
		}
	}
	return nil
}

// slice reads part of a page; large values are read only where they are asked for.
func (pg *page) slice(offset, n uint64) ([]byte, error) {
	if offset+n <= uint64(len(pg.data)) {
		return pg.data[offset : offset+n], nil
	}
	if pg.more == nil {
		return nil, damaged("a bucket inside of a page is cut off")
	}
	return pg.more(offset, n)
}

// key reads the key of element i, and gives the element and where its key ends.
func (pg *page) key(i uint64) (key, element []byte, end uint64, err error) {
	at := headerBytes + i*elementBytes
	element = pg.data[at : at+elementBytes]
	numbers := element // branch: position, key size
	value := uint64(0)
	if pg.flags == leafPage {
		numbers = element[4:]
		value = uint64(order.Uint32(element[12:]))
	}
	position, size := uint64(order.Uint32(numbers)), uint64(order.Uint32(numbers[4:]))
	if at+position+size+value > pg.bytes || position < elementBytes {
		return nil, nil, 0, damaged("page %d: element %d points outside of the page", pg.id, i)
	}
	key, err = pg.slice(at+position, size)
	return key, element, at + position + size, err
}

// tree checks the page and all below it. Keys are not below low, and below high unless that is nil.
func (p *pages) tree(id uint64, low, high []byte, depth int) error {
	if depth > maxDepth {
		return damaged("page %d is %d levels deep", id, depth)
	}
	pg, err := p.page(id)
	if err != nil {
		return err
	}
	return p.content(pg, low, high, depth)
}

func (p *pages) content(pg *page, low, high []byte, depth int) error {
	var keys [][]byte
	for i := range pg.count {
		key, _, _, err := pg.key(i)
		if err != nil {
			return err
		}
		if i > 0 && bytes.Compare(key, keys[i-1]) <= 0 || i == 0 && bytes.Compare(key, low) < 0 || high != nil && bytes.Compare(key, high) >= 0 {
			return damaged("page %d: key %d is out of order", pg.id, i)
		}
		keys = append(keys, key)
	}
	if pg.flags == branchPage && pg.count == 0 {
		return damaged("page %d leads nowhere", pg.id)
	}
	for i := range pg.count {
		_, element, end, err := pg.key(i)
		if err != nil {
			return err
		}
		switch {
		case pg.flags == branchPage:
			next := high
			if i+1 < pg.count {
				next = keys[i+1]
			}
			err = p.tree(order.Uint64(element[8:]), keys[i], next, depth+1)
		case order.Uint32(element)&bucketLeaf != 0:
			err = p.bucket(pg, end, uint64(order.Uint32(element[12:])), depth)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket checks a bucket, whose page is elsewhere or, if it is small, in the value itself.
func (p *pages) bucket(pg *page, offset, size uint64, depth int) error {
	if size < bucketBytes {
		return damaged("page %d: a bucket of %d bytes", pg.id, size)
	}
	value, err := pg.slice(offset, size)
	if err != nil {
		return err
	}
	if root := order.Uint64(value); root != 0 {
		return p.tree(root, nil, nil, depth+1)
	}
	if size < bucketBytes+headerBytes {
		return damaged("page %d: a bucket of %d bytes", pg.id, size)
	}
	data := value[bucketBytes:]
	inline := &page{
		id: pg.id, bytes: uint64(len(data)), flags: order.Uint16(data[8:]), count: uint64(order.Uint16(data[10:])), data: data,
	}
	if inline.flags != leafPage || headerBytes+inline.count*elementBytes > inline.bytes {
		return damaged("page %d: a bucket in it is damaged", pg.id)
	}
	return p.content(inline, nil, nil, depth+1)
}
