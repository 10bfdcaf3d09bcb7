package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

const runAsUsage = "run-as --user UID:GID [--group GID]... [--own DIR] COMMAND [ARG]..."

// numbers collects a repeated option that takes numbers.
type numbers []int

func (n *numbers) String() string { return fmt.Sprint(*n) }

func (n *numbers) Set(value string) error {
	number, err := parseID(value)
	if err != nil {
		return err
	}
	*n = append(*n, number)
	return nil
}

func parseID(text string) (int, error) {
	number, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("not a number of a user or group: %q", text)
	}
	return int(number), nil
}

// runAs is for the entrypoint and the health check: the base image has nothing that joins a group by
// number. Only root becomes another user; whoever is another user already stays that one.
func runAs(args []string) error {
	var groups numbers
	flags := flag.NewFlagSet("run-as", flag.ContinueOnError)
	user := flags.String("user", "", "")
	owned := flags.String("own", "", "")
	flags.Var(&groups, "group", "")
	flags.SetOutput(io.Discard)
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	uid, gid, found := strings.Cut(*user, ":")
	if !found || flags.NArg() == 0 {
		return fmt.Errorf("%w: %s", errUsage, runAsUsage)
	}
	userID, err := parseID(uid)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	groupID, err := parseID(gid)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	path, err := exec.LookPath(flags.Arg(0))
	if err != nil {
		return err
	}
	if os.Getuid() == 0 {
		if *owned != "" {
			takeOver(*owned, userID, groupID)
		}
		if err := drop(userID, groupID, groups); err != nil {
			return err
		}
	}
	return execute(path, flags.Args())
}
