package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

// The only places at which this program waits for the disk. (The power-cut
// test replaces this file to see that it would notice.)

func syncFile(f *os.File) error { return f.Sync() }

func syncFS(f *os.File) error { return unix.Syncfs(int(f.Fd())) }
