package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/smiller333/dockerutilities/app/internal/engine"
	"github.com/smiller333/dockerutilities/app/internal/report"
	"github.com/smiller333/dockerutilities/app/internal/web"
)

// shutdownTime leaves half a second of the two that a container's stop is to take at most.
const shutdownTime = 1500 * time.Millisecond

// memoryLimit is where the garbage collector works harder: half of what docker-run gives a container.
// What requests may hold at once is less; see internal/web/limits.go.
const memoryLimit = 256 << 20

// names collects a repeated option.
type names []string

func (n *names) String() string { return strings.Join(*n, ",") }

func (n *names) Set(value string) error {
	for _, name := range strings.Split(value, ",") {
		if name = strings.TrimSpace(name); name != "" {
			*n = append(*n, name)
		}
	}
	return nil
}

type serverOptions struct {
	host, port, dataDir, socket string
	allowed                     names
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

func checkPort(text string) error {
	if port, err := strconv.Atoi(text); err != nil || port < 0 || port > 65535 {
		return fmt.Errorf("%w: not a port: %q", errUsage, text)
	}
	return nil
}

func serverFlags(args []string, env func(string) string, out io.Writer) (serverOptions, error) {
	var o serverOptions
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.StringVar(&o.host, "host", or(env("DOCKERUTILITIES_HOST"), "127.0.0.1"), "")
	flags.StringVar(&o.port, "port", or(env("DOCKERUTILITIES_PORT"), "8080"), "")
	flags.StringVar(&o.dataDir, "data-dir", or(env("DOCKERUTILITIES_DATA_DIR"), "data"), "")
	flags.StringVar(&o.socket, "socket", or(env("DOCKER_SOCKET"), "/var/run/docker.sock"), "")
	flags.Var(&o.allowed, "allow-host", "")
	if err := parse(flags, args, out); err != nil {
		return o, err
	}
	if len(o.allowed) == 0 {
		_ = o.allowed.Set(env("DOCKERUTILITIES_ALLOWED_HOSTS"))
	}
	return o, checkPort(o.port)
}

func serve(ctx context.Context, args []string, env func(string) string, out, errOut io.Writer) error {
	o, err := serverFlags(args, env, out)
	if err != nil {
		return err
	}
	if os.Getpid() == 1 {
		reapChildren()
	}
	log := slog.New(slog.NewTextHandler(errOut, nil))
	store, err := report.Open(o.dataDir)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; user %[2]d must be able to write it: chown %[2]d:%[3]d the directory that is mounted there, "+
			"or mount a named volume", err, os.Getuid(), os.Getgid())
	}
	if err != nil {
		return err
	}
	defer store.Close()
	listener, err := net.Listen("tcp", net.JoinHostPort(o.host, o.port))
	if err != nil {
		return fmt.Errorf("can't listen: %w", err)
	}
	if env("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	handler := web.New(info(), engine.New(o.socket, log), store, o.allowed, log)
	log.Info("listening", "address", listener.Addr().String(), "version", version)
	warnWithoutEngine(ctx, o.socket, log)
	return serveUntilDone(ctx, listener, handler, log)
}

// warnWithoutEngine says once why the page will show no images; the engine may be there later.
func warnWithoutEngine(ctx context.Context, socket string, log *slog.Logger) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	connection, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		log.Warn("no engine: the page shows no images", "socket", socket, "reason", err)
		return
	}
	_ = connection.Close()
}

// newServer bounds what one client may hold: time, and memory for headers.
func newServer(ctx context.Context, handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		// A request that waits for the engine must not hold up the end.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
}

func serveUntilDone(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger) error {
	server := newServer(ctx, handler, log)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping")
	limit, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	if err := server.Shutdown(limit); err != nil {
		_ = server.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
