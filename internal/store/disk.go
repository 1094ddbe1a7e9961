package store

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/tidwall/btree"
)

// Disk is a disk in memory that outlives the store on it: what a power cut,
// a copy of the home or a full disk do to a store can be shown without files.
// It is for simulations; nothing of it outlives the process.
type Disk struct {
	mu      sync.Mutex // guards what follows
	durable *btree.BTreeG[pair]
	user    *memory // the engine of the store on it, nil: none
	full    bool
	fs      *vfs.MemFS // not nil: Pebble lies on it, and durable is not used
}

// NewDisk returns an empty disk.
func NewDisk() *Disk { return &Disk{durable: newPairs()} }

// NewPebbleDisk returns an empty disk on which stores are Pebble's, over a
// file system that forgets what was not synced. It is slower by far, and is
// never full.
func NewPebbleDisk() *Disk { return &Disk{fs: vfs.NewCrashableMem()} }

// OpenOn opens or creates the store on a disk. There is one store on a disk at
// a time: ErrLocked. It has no lease, so every opening writes in fresh lanes.
func OpenOn(d *Disk, o Options) (*Store, error) {
	o, err := o.validate()
	if err != nil {
		return nil, err
	}
	if d.fs != nil {
		o.FS, o.MemTableBytes, o.CacheBytes, o.ReserveBytes = d.fs, 64<<10, 1<<20, -1
		return Open("home", o)
	}
	o.lookEvery = -1 // virtual time does not pass between two looks
	m := newMemory()
	m.disk = d
	d.mu.Lock()
	busy := d.user != nil
	if !busy {
		m.tree = d.durable.Copy()
		d.user = m
	}
	d.mu.Unlock()
	if busy {
		return nil, ErrLocked
	}
	s, err := open("", m, o)
	if err != nil {
		d.leave(m)
	}
	return s, err
}

// Cut cuts the power: what was not yet durable is gone, and the store on the
// disk reaches it no more. It may be closed later.
func (d *Disk) Cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.user = nil
	if d.fs != nil {
		d.fs = d.fs.CrashClone(vfs.CrashCloneCfg{})
	}
}

// Copy is another disk with what is durable on this one: a backup, or a clone
// of the home.
func (d *Disk) Copy() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fs != nil {
		return &Disk{fs: d.fs.CrashClone(vfs.CrashCloneCfg{})}
	}
	return &Disk{durable: d.durable.Copy()}
}

// SetFull says whether there is no space left for whatever makes the store
// larger.
func (d *Disk) SetFull(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

// sync makes a state durable, unless the power was cut.
func (d *Disk) sync(m *memory, tree *btree.BTreeG[pair]) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.user == m {
		d.durable = tree
	}
}

func (d *Disk) leave(m *memory) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.user == m {
		d.user = nil
	}
}

func (d *Disk) free() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return 0
	}
	return 1 << 40
}
