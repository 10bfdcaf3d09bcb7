package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"time"
)

// firstProcess is where a container's first process tells its command line.
const firstProcess = "/proc/1/cmdline"

// healthcheck asks the server on this machine. In a container, the engine starts it with the
// image's environment and without the options that the server was given.
func healthcheck(ctx context.Context, args []string, env func(string) string, out io.Writer) error {
	cmdline, _ := os.ReadFile(firstProcess) // Where there is none, the environment has to do.
	server := servedHere(string(cmdline), env)
	flags := flag.NewFlagSet("healthcheck", flag.ContinueOnError)
	port := flags.String("port", server.port, "")
	timeout := flags.Duration("timeout", 2*time.Second, "")
	if err := parse(flags, args, out); err != nil {
		return err
	}
	if err := checkPort(*port); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	return askHealth(ctx, net.JoinHostPort(reachable(server.host), *port))
}

// servedHere reads a server's options out of the command line of a container's first process: the
// program itself, or an init in front of the entrypoint. Any other one tells nothing, and the
// options are those of the environment.
func servedHere(cmdline string, env func(string) string) serverOptions {
	words := strings.Split(strings.TrimSuffix(cmdline, "\x00"), "\x00")
	for i := 1; i < len(words); i++ {
		starter := path.Base(words[i-1])
		if words[i] != "server" || starter != "dockerutilities" && starter != "entrypoint.sh" {
			continue
		}
		if options, err := serverFlags(words[i+1:], env, io.Discard); err == nil {
			return options
		}
	}
	options, _ := serverFlags(nil, env, io.Discard) // A bad port is told by who uses it.
	return options
}

// reachable returns where to ask a server that listens on a host. It names 127.0.0.1, not
// localhost, which may mean ::1 where nothing listens.
func reachable(host string) string {
	if address := net.ParseIP(host); host == "" || host == "localhost" || address != nil && address.IsUnspecified() {
		return "127.0.0.1"
	}
	return host
}

func askHealth(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/api/health", nil)
	if err != nil {
		return err
	}
	request.Host = "localhost" // Always allowed, whatever name the server listens under.
	// Never through a proxy that the environment names.
	client := &http.Client{Transport: &http.Transport{}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("not healthy: %s", response.Status)
	}
	return nil
}
