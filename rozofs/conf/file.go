package conf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// readFile reads a configuration file, never more than the limit.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, unreadable(name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return nil, unreadable(name, err)
	}
	if len(data) > MaxFileBytes {
		return nil, tooLarge(name)
	}
	return data, nil
}

func unreadable(name string, err error) *Error {
	return &Error{File: name, Problem: "the file cannot be read: " + cause(err).Error(), Err: err}
}

func tooLarge(name string) *Error {
	return &Error{File: name, Problem: fmt.Sprintf("the file is larger than %d bytes, the limit for a configuration", MaxFileBytes)}
}

// cause takes the path off an error of package os: the message names it already.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// WriteFile replaces a configuration file, so that a crash at any moment leaves the old content or the new: a temporary
// file beside it is written and fsynced, renamed over it, and the directory fsynced. A symbolic link stays, and its target
// is replaced. The mode of an existing file is kept, a new one gets 0644; its owner becomes the caller.
//
// BUG: a crash can leave the temporary file, .NAME.*.tmp, behind.
func WriteFile(name string, data []byte) error {
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(name); err == nil {
		mode = info.Mode().Perm()
	}
	dir := filepath.Dir(name)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(name)+".*.tmp")
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err = fill(tmp, data, mode); err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // the first error is the one to tell
		return fmt.Errorf("write configuration %s: %w", name, err)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("write configuration %s: %w", name, err)
	}
	return nil
}

// fill writes, syncs and closes the file.
func fill(f *os.File, data []byte, mode fs.FileMode) error {
	_, err := f.Write(data)
	return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
