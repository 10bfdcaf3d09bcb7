//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// execute turns into a program: it returns only where it fails.
func execute(path string, command []string) error {
	return syscall.Exec(path, command, os.Environ())
}

// drop leaves root for a user and exactly these groups.
func drop(user, group int, groups []int) error {
	// Groups first: without root, nobody may set them.
	for _, step := range []func() error{
		func() error { return syscall.Setgroups(groups) },
		func() error { return syscall.Setgid(group) },
		func() error { return syscall.Setuid(user) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("can't drop to user %d: %w; add --cap-add SETUID --cap-add SETGID to docker run, or --user %d:%d", user, err, user, group)
		}
	}
	if syscall.Getuid() != user || syscall.Geteuid() != user || syscall.Getegid() != group {
		return fmt.Errorf("still not user %d", user)
	}
	return nil
}

// takeOver gives a directory to a user where it is root's and empty, as the engine makes one that it
// mounts: that directory alone. Any other stays as it is, and so does one that can't be given: the
// server says what it can't write.
func takeOver(path string, user, group int) {
	// Everything is asked of what was opened, whatever takes the place of the path meanwhile.
	folder, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer folder.Close()
	var about syscall.Stat_t
	if err := syscall.Fstat(int(folder.Fd()), &about); err != nil || about.Uid != 0 {
		return
	}
	if _, err := folder.Readdirnames(1); !errors.Is(err, io.EOF) {
		return
	}
	if err := folder.Chown(user, group); err == nil {
		fmt.Fprintf(os.Stderr, "dockerutilities: %s was empty and root's; it belongs to %d:%d now\n", path, user, group)
	}
}

// reapChildren lets orphans end that were handed to the first process of a container; the program
// itself starts no process, so nobody else waits for one.
func reapChildren() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	go func() {
		for range ended {
			for {
				pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
				if pid <= 0 || err != nil {
					break
				}
			}
		}
	}()
}
