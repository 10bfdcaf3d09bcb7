// Command dockerutilities looks at the images of a Docker engine and keeps reports about them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/smiller333/dockerutilities/app/internal/web"
)

// Injected with -ldflags "-X main.version=…".
var (
	version  = "0.0.1-SNAPSHOT-none"
	revision = ""
	created  = ""
)

const usage = `dockerutilities looks at the images of a Docker engine and keeps reports about them.

Usage:
  dockerutilities server [--host ADDR] [--port N] [--data-dir DIR] [--socket PATH] [--allow-host NAME]...
  dockerutilities healthcheck [--port N] [--timeout DURATION]
  dockerutilities version [--json]
  dockerutilities run-as --user UID:GID [--group GID]... [--own DIR] COMMAND [ARG]...   (in the image)
  dockerutilities --help

Environment (an option wins over it):
  DOCKERUTILITIES_HOST           --host, default 127.0.0.1
  DOCKERUTILITIES_PORT           --port, default 8080
  DOCKERUTILITIES_DATA_DIR       --data-dir, default ./data
  DOCKERUTILITIES_ALLOWED_HOSTS  --allow-host, separated by commas
  DOCKER_SOCKET                  --socket, default /var/run/docker.sock

In a container, healthcheck asks where the server that was started there listens; --port wins.

The service has no authentication: let it listen on loopback, or in a container whose port is
published there. Exit codes: 0 fine, 1 failed, 2 bad usage.
`

// errUsage marks what the user typed wrong.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run carries out one command line and returns the exit code.
func run(ctx context.Context, args []string, env func(string) string, out, err io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(err, usage)
		return 2
	}
	failure := dispatch(ctx, args[0], args[1:], env, out, err)
	switch {
	case failure == nil, errors.Is(failure, flag.ErrHelp):
		return 0
	case errors.Is(failure, errUsage):
		fmt.Fprintln(err, "dockerutilities:", failure)
		return 2
	default:
		fmt.Fprintln(err, "dockerutilities:", failure)
		return 1
	}
}

func dispatch(ctx context.Context, command string, args []string, env func(string) string, out, err io.Writer) error {
	switch command {
	case "-h", "--help", "help":
		fmt.Fprint(out, usage)
		return nil
	case "version", "--version":
		return printVersion(args, out)
	case "server":
		return serve(ctx, args, env, out, err)
	case "healthcheck":
		return healthcheck(ctx, args, env, out)
	case "run-as":
		return runAs(args)
	default:
		return fmt.Errorf("%w: unknown command %q, see --help", errUsage, command)
	}
}

func info() web.Info {
	return web.Info{
		Version:   version,
		Revision:  revision,
		Created:   created,
		GoVersion: runtime.Version(),
		Platform:  runtime.GOOS + "/" + runtime.GOARCH,
	}
}

// parse reads options, and refuses what is left over.
func parse(flags *flag.FlagSet, args []string, out io.Writer) error {
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage)
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", errUsage, err)
	case flags.NArg() > 0:
		return fmt.Errorf("%w: %s takes no argument %q", errUsage, flags.Name(), flags.Arg(0))
	}
	return nil
}

func printVersion(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("version", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "")
	if err := parse(flags, args, out); err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(out).Encode(info())
	}
	_, err := fmt.Fprintln(out, version)
	return err
}
