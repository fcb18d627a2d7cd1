package exportd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rozofs-go/rozo/rozofs/vocab"
	"github.com/rozofs-go/rozo/rozofs/wire"
)

// formatVersion numbers the key space of doc.go.
const formatVersion = 1

// memTableBytes bounds what a start replays.
const memTableBytes = 16 << 20

// store is the open database and its directory lock.
type store struct {
	db    *pebble.DB
	lock  *pebble.Lock
	cache *pebble.Cache
	identity
}

// openStore opens the metadata directory, making it when it is not there or
// empty. readOnly neither makes nor changes anything.
func openStore(dir string, files vfs.FS, cluster vocab.ClusterID, cacheBytes int64, log *slog.Logger, readOnly bool) (*store, error) {
	if !readOnly {
		if err := files.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("metadata directory %s: %w", dir, err)
		}
	}
	if err := checkDirectory(dir, files); err != nil {
		return nil, err
	}
	lock, err := pebble.LockDirectory(dir, files)
	if err != nil {
		return nil, fmt.Errorf("metadata directory %s: locked, another exportd seems to run on it: stop that one first (%w)", dir, err)
	}
	s := &store{lock: lock, cache: pebble.NewCache(cacheBytes)}
	if s.db, err = pebble.Open(dir, s.options(files, log, readOnly)); err != nil {
		err = fmt.Errorf("metadata directory %s: %w", dir, err)
		return nil, errors.Join(err, s.close())
	}
	if err := s.loadIdentity(cluster, readOnly); err != nil {
		return nil, errors.Join(fmt.Errorf("metadata directory %s: %w", dir, err), s.close())
	}
	return s, nil
}

func (s *store) options(files vfs.FS, log *slog.Logger, readOnly bool) *pebble.Options {
	o := &pebble.Options{
		FS:                          files,
		Lock:                        s.lock,
		Cache:                       s.cache,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: 4,
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      pebbleLog{log},
		ReadOnly:                    readOnly,
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// checkDirectory refuses a directory that holds something else.
func checkDirectory(dir string, files vfs.FS) error {
	names, err := files.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("metadata directory %s: %w", dir, err)
	}
	for _, n := range names {
		if n == "LOCK" || strings.HasPrefix(n, "marker.") {
			return nil
		}
	}
	for _, n := range names {
		if n != "lost+found" {
			return fmt.Errorf("metadata directory %s: it is not empty and holds no metadata (found %s): name an empty one", dir, n)
		}
	}
	return nil
}

func (s *store) loadIdentity(cluster vocab.ClusterID, readOnly bool) error {
	v, closer, err := s.db.Get(identityKey())
	if err == nil {
		defer closer.Close()
		if err := decode(identityKey(), v, &s.identity); err != nil {
			return err
		}
		return s.identity.check(cluster)
	}
	if !errors.Is(err, pebble.ErrNotFound) {
		return err
	}
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	empty := !it.First()
	if err := it.Close(); err != nil {
		return err
	}
	if !empty || readOnly {
		return errors.New("it holds no metadata of exportd")
	}
	if cluster == (vocab.ClusterID{}) {
		if _, err := rand.Read(cluster[:]); err != nil {
			return err
		}
	}
	s.identity = identity{format: formatVersion, cluster: cluster, incarnation: 1, group: 1}
	return s.db.Set(identityKey(), encode(&s.identity), pebble.Sync)
}

// value decodes the record under key into m and tells whether it is there.
func value(r pebble.Reader, key []byte, m wire.Message) (bool, error) {
	v, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("metadata record %x: %w", key, err)
	}
	defer closer.Close()
	return true, decode(key, v, m)
}

// scan calls visit for every key that begins with prefix, from prefix+from on.
func scan(r pebble.Reader, prefix, from []byte, visit func(key, value []byte) (more bool, err error)) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: after(prefix)})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(err, it.Close())
		}
		more, err := visit(it.Key(), v)
		if err != nil || !more {
			return errors.Join(err, it.Close())
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// flush writes the memtable out, so that the next start replays nothing.
func (s *store) flush() error { return s.db.Flush() }

func (s *store) close() error {
	var errs []error
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	s.cache.Unref()
	errs = append(errs, s.lock.Close())
	return errors.Join(errs...)
}

// pebbleLog passes Pebble's messages on. Pebble's fatal errors are those after
// which the database must not be used: it calls Fatalf and expects no return.
type pebbleLog struct{ log *slog.Logger }

func (l pebbleLog) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("pebble", "message", fmt.Sprintf(format, args...))
	}
}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.log.Error("pebble", "message", fmt.Sprintf(format, args...))
}

func (l pebbleLog) Fatalf(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	l.log.Error("the metadata store has failed; nothing can be acknowledged any more", "message", message)
	panic("exportd: the metadata store has failed: " + message)
}
