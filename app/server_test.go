package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func quietServer() *http.Server {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") })
	return newServer(context.Background(), handler, slog.New(slog.NewTextHandler(io.Discard, nil)))
}

// dial connects to a server that serves as it is now.
func dial(t *testing.T, server *http.Server) net.Conn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	// Far more than any of these tests takes where the server does what it has to.
	if err := connection.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return connection
}

func TestTheTimesThatAClientHas(t *testing.T) {
	server := quietServer()
	for name, got := range map[string]struct{ is, want time.Duration }{
		"to send its headers":       {server.ReadHeaderTimeout, 5 * time.Second},
		"to send its whole request": {server.ReadTimeout, 15 * time.Second},
		// Longer than the engine may take for its own answer.
		"to take the answer":        {server.WriteTimeout, 60 * time.Second},
		"to say nothing in between": {server.IdleTimeout, 60 * time.Second},
	} {
		if got.is != got.want {
			t.Errorf("%s: %s, not %s", name, got.is, got.want)
		}
	}
}

func TestALogWithoutAnEngineSaysSo(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "engine.sock")
	for _, there := range []bool{false, true} {
		if there {
			listener, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = listener.Close() }()
		}
		var log bytes.Buffer
		warnWithoutEngine(context.Background(), socket, slog.New(slog.NewTextHandler(&log, nil)))
		if got := strings.Contains(log.String(), "the page shows no images"); got == there {
			t.Errorf("with an engine: %t, log: %q", there, log.String())
		}
	}
}

// Each client stops in the middle. Only the time that is tried is short: the server's others are as
// they are, so that none of them can end the connection in its stead.
func TestAClientThatStopsInTheMiddleIsCutOff(t *testing.T) {
	cases := []struct {
		name, sent string
		shorten    func(*http.Server)
	}{
		{"its headers", "GET / HTTP/1.1\r\nHost: x\r\n", func(s *http.Server) { s.ReadHeaderTimeout /= 50 }},
		{"its body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", func(s *http.Server) { s.ReadTimeout /= 150 }},
		{"between two requests", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", func(s *http.Server) { s.IdleTimeout /= 600 }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			server := quietServer()
			c.shorten(server)
			server.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
			connection := dial(t, server)
			started := time.Now()
			if _, err := io.WriteString(connection, c.sent); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, connection); err != nil {
				t.Errorf("it was not cut off: %v", err)
			}
			if took := time.Since(started); took > 3*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestHeadersAreBounded(t *testing.T) {
	for size, want := range map[int]int{16 << 10: http.StatusOK, 64 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			connection := dial(t, quietServer())
			go func() {
				_, _ = fmt.Fprintf(connection, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: %0*d\r\n\r\n", size, 0)
			}()
			response, err := http.ReadResponse(bufio.NewReader(connection), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.StatusCode != want {
				t.Errorf("%s", response.Status)
			}
		})
	}
}
