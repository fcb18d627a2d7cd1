package rozofsmount

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// mmapRole maps a file of two pages, reads and changes it through the mapping.
func mmapRole(args []string) error {
	file, err := os.OpenFile(args[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	page := os.Getpagesize()
	m, err := unix.Mmap(int(file.Fd()), 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	if !bytes.HasPrefix(m, []byte("read me")) {
		return fmt.Errorf("mapping begins with %q", m[:16])
	}
	copy(m, "WRITTEN")
	copy(m[page:], "second page")
	if err := unix.Msync(m, unix.MS_SYNC); err != nil {
		return fmt.Errorf("msync: %w", err)
	}
	copy(m[page+100:], "without msync")
	return unix.Munmap(m)
}

// readRole counts SIGUSR1, says "open" and reads a file to its end.
func readRole(args []string) error {
	caught := make(chan os.Signal, 100)
	signal.Notify(caught, syscall.SIGUSR1)
	fd, err := unix.Open(args[0], unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	fmt.Println("open")
	buf := make([]byte, 100)
	n, err := unix.Read(fd, buf)
	fmt.Printf("%q %v signals:%d\n", buf[:max(n, 0)], err, len(caught))
	return nil
}

// holdRole opens a file for writing, writes, and keeps it open until its
// standard input ends; then it writes again.
func holdRole(args []string) error {
	file, err := os.OpenFile(args[0], os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	if _, err := file.WriteString("held"); err != nil {
		return err
	}
	fmt.Println("open")
	io.Copy(io.Discard, os.Stdin)
	_, err = file.WriteString("more")
	fmt.Println(err)
	return nil
}

// checkRole prints what checkMountpoint says.
func checkRole(args []string) error {
	_, err := checkMountpoint(args[0])
	return err
}
