//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// become drops to a user and exactly these groups, and turns into the command: it returns only
// where it fails.
func become(user, group int, groups []int, command []string) error {
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
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
	return syscall.Exec(path, command, os.Environ())
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
