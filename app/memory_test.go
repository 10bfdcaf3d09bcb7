//go:build linux && !race

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// largeEngine has a list of images that takes 29 MB, with labels that contain what HTML escapes.
func largeEngine(t *testing.T) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.45")
		if r.URL.Path == "/_ping" {
			return
		}
		if strings.HasSuffix(r.URL.Path, "/containers/json") {
			_, _ = io.WriteString(w, "[]")
			return
		}
		label := strings.Repeat("<label>", 400)
		for i, comma := 0, "["; i < 10_000; i, comma = i+1, "," {
			if _, err := fmt.Fprintf(w, `%s{"Id":"sha256:%064x","RepoTags":["i:%d"],"Labels":{"a":"%s"}}`, comma, i, i, label); err != nil {
				return
			}
		}
		_, _ = io.WriteString(w, "]")
	})}}
	server.Start()
	t.Cleanup(server.Close)
	return socket
}

// highest returns the most memory that a process ever had, in MB.
func highest(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	kilobytes, err := strconv.Atoi(string(regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes >> 10
}

// A container has 512 MB; see memoryLimit.
func TestManyRequestsForALongListStayFarBelowTheMemoryOfAContainer(t *testing.T) {
	port := freePort(t)
	command := exec.Command(os.Args[0], "server", "--port", port, "--data-dir", t.TempDir(), "--socket", largeEngine(t))
	command.Env = append(os.Environ(), "RUN_AS_PROGRAM=1")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	}()
	waitHealthy(t, port)
	var group sync.WaitGroup
	codes := make(chan int, 40)
	for i := range 40 {
		path := []string{"/api/images", "/?q=i"}[i%2]
		group.Add(1)
		go func() {
			defer group.Done()
			response, err := http.Get("http://127.0.0.1:" + port + path)
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			size, err := io.Copy(io.Discard, response.Body)
			if response.StatusCode == http.StatusOK && (err != nil || i%2 == 0 && size < 28_000_000) {
				t.Errorf("%d bytes, %v", size, err)
			}
			codes <- response.StatusCode
		}()
	}
	group.Wait()
	close(codes)
	count := map[int]int{}
	for code := range codes {
		count[code]++
	}
	if count[http.StatusOK] == 0 || count[http.StatusOK]+count[http.StatusServiceUnavailable] != 40 {
		t.Errorf("%v", count)
	}
	megabytes := highest(t, command.Process.Pid)
	t.Logf("%d MB, %v", megabytes, count)
	if megabytes > 350 {
		t.Errorf("%d MB", megabytes)
	}
}
