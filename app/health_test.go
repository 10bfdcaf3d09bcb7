package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestTheServersOptionsAreThoseOfTheFirstProcess(t *testing.T) {
	const program = "/usr/local/bin/dockerutilities"
	env := func(name string) string {
		return map[string]string{"DOCKERUTILITIES_HOST": "0.0.0.0", "DOCKERUTILITIES_PORT": "8080"}[name]
	}
	cases := []struct {
		name       string
		words      []string
		host, port string
	}{
		{"the program itself", []string{program, "server", "--port", "9090"}, "0.0.0.0", "9090"},
		{"an option with =", []string{program, "server", "--data-dir=/d", "-port=9090"}, "0.0.0.0", "9090"},
		{"a host", []string{program, "server", "--host", "::1"}, "::1", "8080"},
		{"an init in front", []string{"/sbin/docker-init", "--", "/usr/local/bin/entrypoint.sh", "server", "--port", "9090"}, "0.0.0.0", "9090"},
		{"an emulator in front", []string{"/usr/bin/qemu-aarch64-static", program, program, "server", "--port", "9090"}, "0.0.0.0", "9090"},
		{"no options", []string{program, "server"}, "0.0.0.0", "8080"},
		{"options that are none", []string{program, "server", "--frob"}, "0.0.0.0", "8080"},
		{"another program's server", []string{"/bin/other", "server", "--port", "9090"}, "0.0.0.0", "8080"},
		{"another command of ours", []string{program, "version"}, "0.0.0.0", "8080"},
		{"nothing", nil, "0.0.0.0", "8080"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := servedHere(strings.Join(c.words, "\x00")+"\x00", env)
			if got.host != c.host || got.port != c.port {
				t.Errorf("%s port %s", got.host, got.port)
			}
		})
	}
}

func TestABadPortInTheEnvironmentIsBadUsage(t *testing.T) {
	env := func(name string) string { return map[string]string{"DOCKERUTILITIES_PORT": "x"}[name] }
	if code, _, text := runWith(env, "healthcheck"); code != 2 || !strings.Contains(text, "not a port") {
		t.Errorf("code %d: %s", code, text)
	}
}

func TestWhereAServerIsAsked(t *testing.T) {
	for host, want := range map[string]string{
		"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "127.0.0.1", "localhost": "127.0.0.1",
		"::1": "::1", "172.17.0.2": "172.17.0.2", "name.example": "name.example",
	} {
		if got := reachable(host); got != want {
			t.Errorf("%q: %s", host, got)
		}
	}
}

func TestTheHealthIsAskedUnderANameThatIsAllowed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 1)
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Host + r.URL.Path
		_, _ = io.WriteString(w, "{}")
	})}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	if err := askHealth(context.Background(), listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got != "localhost/api/health" {
		t.Error(got)
	}
}
