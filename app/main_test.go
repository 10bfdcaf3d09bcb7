package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is the program itself when it is started with this variable.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_AS_PROGRAM") == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

func noEnv(string) string { return "" }

func runWith(env func(string) string, args ...string) (int, string, string) {
	var out, err bytes.Buffer
	code := run(context.Background(), args, env, &out, &err)
	return code, out.String(), err.String()
}

func TestExitCodes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"help", []string{"--help"}, 0, "Usage:"},
		{"help of a command", []string{"server", "--help"}, 0, "Usage:"},
		{"no command", nil, 2, "Usage:"},
		{"unknown command", []string{"frob"}, 2, `unknown command "frob"`},
		{"unknown option", []string{"version", "--xml"}, 2, "-xml"},
		{"surplus argument", []string{"version", "x"}, 2, `takes no argument "x"`},
		{"version", []string{"version"}, 0, version + "\n"},
		{"version as an option", []string{"--version"}, 0, version + "\n"},
		{"port that is none", []string{"server", "--port", "x"}, 2, "not a port"},
		{"port too high", []string{"healthcheck", "--port", "65536"}, 2, "not a port"},
		{"healthcheck with a bad option", []string{"healthcheck", "--timeout", "x"}, 2, "timeout"},
		{"run-as without a user", []string{"run-as", "true"}, 2, "run-as --user"},
		{"run-as without a command", []string{"run-as", "--user", "1:1"}, 2, "run-as --user"},
		{"run-as with a name", []string{"run-as", "--user", "root:1", "true"}, 2, `"root"`},
		{"run-as with a name of a group", []string{"run-as", "--user", "1:root", "true"}, 2, `"root"`},
		{"run-as with a negative group", []string{"run-as", "--user", "1:1", "--group", "-1", "true"}, 2, `"-1"`},
		{"run-as what is not there", []string{"run-as", "--user", "1:1", "no-such-command"}, 1, "no-such-command"},
		{"nobody listens", []string{"healthcheck", "--port", "1"}, 1, "not healthy"},
		{"data directory is a file", []string{"server", "--port", "0", "--data-dir", file}, 1, "data directory"},
		{"address that is not ours", []string{"server", "--host", "192.0.2.1", "--port", "0", "--data-dir", t.TempDir()}, 1, "can't listen"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			code, out, err := runWith(noEnv, c.args...)
			if code != c.code || !strings.Contains(out+err, c.want) {
				t.Errorf("code %d, output %q", code, out+err)
			}
			if code == 2 && out != "" {
				t.Errorf("bad usage wrote to stdout: %q", out)
			}
		})
	}
}

func TestVersionAsJSON(t *testing.T) {
	_, out, _ := runWith(noEnv, "version", "--json")
	var got map[string]string
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"version", "revision", "created", "go_version", "platform"} {
		if _, ok := got[key]; !ok {
			t.Errorf("no %s in %s", key, out)
		}
	}
}

func TestOptionsWinOverTheEnvironment(t *testing.T) {
	env := func(name string) string {
		return map[string]string{
			"DOCKERUTILITIES_HOST": "::1", "DOCKERUTILITIES_PORT": "81", "DOCKERUTILITIES_DATA_DIR": "/e",
			"DOCKER_SOCKET": "/s", "DOCKERUTILITIES_ALLOWED_HOSTS": "a, b,",
		}[name]
	}
	got, err := serverFlags(nil, env, &bytes.Buffer{})
	if err != nil || got.host != "::1" || got.port != "81" || got.dataDir != "/e" || got.socket != "/s" || got.allowed.String() != "a,b" {
		t.Errorf("environment: %+v %v", got, err)
	}
	got, err = serverFlags([]string{"--port", "82", "--allow-host", "c"}, env, &bytes.Buffer{})
	if err != nil || got.port != "82" || got.allowed.String() != "c" {
		t.Errorf("options: %+v %v", got, err)
	}
}

func TestHealthcheckSeesAnUnhealthyServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	if code, _, text := runWith(noEnv, "healthcheck", "--port", port); code != 1 || !strings.Contains(text, "404") {
		t.Errorf("code %d: %s", code, text)
	}
}

// hangingEngine takes connections and never answers.
func hangingEngine(t *testing.T) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return socket
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

func TestSIGTERMEndsItWithinTwoSecondsAlsoWhileTheEngineHangs(t *testing.T) {
	port := freePort(t)
	command := exec.Command(os.Args[0], "server", "--port", port, "--data-dir", t.TempDir(), "--socket", hangingEngine(t))
	command.Env = append(os.Environ(), "RUN_AS_PROGRAM=1")
	var log bytes.Buffer
	command.Stderr = &log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	waitHealthy(t, port)
	if code, _, text := runWith(noEnv, "healthcheck", "--port", port); code != 0 {
		t.Errorf("healthcheck: %d %s", code, text)
	}
	go func() { _, _ = http.Get("http://127.0.0.1:" + port + "/api/images") }()
	time.Sleep(100 * time.Millisecond)
	started := time.Now()
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, &log)
	}
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
}

func waitHealthy(t *testing.T, port string) {
	t.Helper()
	for range 200 {
		if code, _, _ := runWith(noEnv, "healthcheck", "--port", port); code == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the server did not become healthy")
}

// runAsIn runs the program's run-as as root, as inside the build and the container.
func runAsIn(t *testing.T, args ...string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test wants root, as it has inside the build")
	}
	command := exec.Command(os.Args[0], append([]string{"run-as"}, args...)...)
	command.Env = append(os.Environ(), "RUN_AS_PROGRAM=1")
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestRunAsDropsToTheUserAndExactlyTheGroups(t *testing.T) {
	got := runAsIn(t, "--user", "1001:1001", "--group", "999", "sh", "-c", `id -u; id -G; echo "$1"`, "sh", "a  b")
	if want := "1001\n1001 999\na  b\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRunAsTakesOverWhatIsEmptyAndRootsAlone(t *testing.T) {
	cases := []struct {
		name string
		make func(path string) error
		want string
	}{
		{"empty and root's", func(path string) error { return os.Mkdir(path, 0o755) }, "1001:1001"},
		{"not empty", func(path string) error { return os.MkdirAll(filepath.Join(path, "x"), 0o755) }, "0:0"},
		{"hidden content", func(path string) error { return os.MkdirAll(filepath.Join(path, ".x"), 0o755) }, "0:0"},
		{"another user's", func(path string) error {
			return errors.Join(os.Mkdir(path, 0o755), os.Chown(path, 500, 0))
		}, "500:0"},
		{"a file", func(path string) error { return os.WriteFile(path, nil, 0o644) }, "0:0"},
		{"a link", func(path string) error {
			return errors.Join(os.Mkdir(path+".real", 0o755), os.Symlink(path+".real", path))
		}, "0:0"},
		{"absent", func(string) error { return nil }, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "data")
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			out := runAsIn(t, "--user", "1001:1001", "--own", path, "true")
			if got := owner(path); got != c.want {
				t.Errorf("it belongs to %q, want %q", got, c.want)
			}
			if said := strings.Contains(out, "belongs to 1001:1001 now"); said != (c.want == "1001:1001") {
				t.Errorf("said %q", out)
			}
		})
	}
}

func owner(path string) string {
	about, err := os.Stat(path)
	if err != nil {
		return ""
	}
	status := about.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", status.Uid, status.Gid)
}
