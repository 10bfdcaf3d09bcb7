package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smiller333/dockerutilities/app/internal/engine"
)

// waitingEngine tells of each request that reaches it, and answers when it is let go.
type waitingEngine struct {
	manyImages
	reached chan struct{}
	letGo   chan struct{}
}

func newWaitingEngine() *waitingEngine {
	return &waitingEngine{reached: make(chan struct{}, 1000), letGo: make(chan struct{})}
}

func (e *waitingEngine) Images(ctx context.Context, _ func(engine.Image) error) error {
	e.reached <- struct{}{}
	select {
	case <-e.letGo:
	case <-ctx.Done():
	}
	return ctx.Err()
}

func TestOnlySoManyRequestsAreServedAtOnce(t *testing.T) {
	eng := newWaitingEngine()
	s := &server{engine: eng}
	g := newGate(engineRequests)
	g.patience = time.Hour
	handler := s.bounded(g, s.listImages)
	var group sync.WaitGroup
	codes := make(chan int, engineRequests+maxWaiting)
	for range engineRequests + maxWaiting {
		group.Add(1)
		go func() {
			defer group.Done()
			codes <- call{method: "GET", path: "/api/images"}.to(handler).Code
		}()
	}
	for range engineRequests {
		<-eng.reached
	}
	for len(g.waiting) < maxWaiting {
		time.Sleep(time.Millisecond)
	}
	got := call{method: "GET", path: "/api/images"}.to(handler)
	if got.Code != 503 || got.Header().Get("Retry-After") == "" || !strings.Contains(got.Body.String(), `{"error":"`) {
		t.Errorf("%d %v %s", got.Code, got.Header(), got.Body)
	}
	if len(eng.reached) > 0 {
		t.Error("more than allowed were let in")
	}
	close(eng.letGo)
	group.Wait()
	close(codes)
	for code := range codes {
		if code != 200 {
			t.Errorf("one that waited: %d", code)
		}
	}
}

func TestWhereTheEngineHangsTheRestAnswers(t *testing.T) {
	eng := newWaitingEngine()
	handler, _, _ := serveWith(t, eng, io.Discard)
	var group sync.WaitGroup
	for i := range engineRequests + 10 {
		group.Add(1)
		go func() {
			defer group.Done()
			call{method: "GET", path: []string{"/", "/api/images"}[i%2]}.to(handler)
		}()
	}
	for range engineRequests {
		<-eng.reached
	}
	for path, code := range map[string]int{"/api/health": 200, "/api/reports": 200, "/api/nothing": 404} {
		if got := (call{method: "GET", path: path}).to(handler); got.Code != code {
			t.Errorf("%s: %d", path, got.Code)
		}
	}
	close(eng.letGo)
	group.Wait()
}

func TestNoRequestWaitsForeverAtAGate(t *testing.T) {
	g := newGate(1)
	g.patience = time.Millisecond
	if !g.enter(context.Background()) || g.enter(context.Background()) {
		t.Error("the second was let in")
	}
	g.patience = time.Hour
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if g.enter(gone) {
		t.Error("one that was gone was let in")
	}
	g.leave()
	if !g.enter(context.Background()) {
		t.Error("no request was let in after the first had left")
	}
}

func TestARequestHasADeadline(t *testing.T) {
	s := &server{}
	s.bounded(newGate(1), func(_ *reply, r *http.Request) {
		if deadline, ok := r.Context().Deadline(); !ok || time.Until(deadline) > requestTime {
			t.Errorf("%s %t", deadline, ok)
		}
	})(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
}

// listen serves a handler on a real connection.
func listen(t *testing.T, handler http.Handler) func(request string) net.Conn {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	// The less the system buffers, the sooner a slow client is one.
	server.Config.ConnContext = func(ctx context.Context, connection net.Conn) context.Context {
		_ = connection.(*net.TCPConn).SetWriteBuffer(4 << 10)
		return ctx
	}
	server.Start()
	t.Cleanup(server.Close)
	return func(request string) net.Conn {
		connection, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = connection.Close() })
		_ = connection.(*net.TCPConn).SetReadBuffer(4 << 10)
		_ = connection.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(connection, request); err != nil {
			t.Fatal(err)
		}
		return connection
	}
}

func ask(t *testing.T, open func(string) net.Conn, path string) int {
	t.Helper()
	connection := open("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
	defer connection.Close() // Without the rest of the answer: to close its body would read it.
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode
}

// Clients that do not send their request, or do not take the answer, hold nothing that others need.
func TestSlowClientsDoNotBlockOthers(t *testing.T) {
	// More than a connection takes on its own, and less than a tenth of what may be unsent.
	image := engine.Image{ID: "x", Labels: json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)}
	handler, _, _ := serveWith(t, manyImages{number: 3, image: image}, io.Discard)
	open := listen(t, handler)
	for range engineRequests + 1 {
		open("POST /api/reports HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
		slow := open("GET /api/images HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if _, err := slow.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/api/images", "/", "/api/reports", "/api/health"} {
		if code := ask(t, open, path); code != 200 {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func TestAnswersThatAreNotReadAreBounded(t *testing.T) {
	text := make([]byte, maxAnswer-1)
	s := &server{}
	g := newGate(engineRequests)
	g.patience = 10 * time.Millisecond
	open := listen(t, s.bounded(g, func(w *reply, _ *http.Request) { _, _ = w.Write(text) }))
	// One is sent outside of the gate; the next ones would be too much, and keep their slots.
	for range 1 + engineRequests {
		slow := open("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if _, err := slow.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		defer slow.Close()
	}
	if code := ask(t, open, "/"); code != http.StatusServiceUnavailable {
		t.Errorf("%d", code)
	}
	if held := s.unsent.Load(); held > (1+engineRequests)*maxAnswer {
		t.Errorf("%d bytes", held)
	}
}

func TestARequestThatIsNotWholeIsRefused(t *testing.T) {
	handler, _ := serve(t, nil)
	connection := listen(t, handler)("POST /api/reports HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
	if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil || response.StatusCode != 400 {
		t.Errorf("%v %v", response, err)
	}
}

func TestAReplyIsWhatWasWritten(t *testing.T) {
	r := &reply{header: http.Header{}, status: 200}
	var want strings.Builder
	for i := range 20_000 {
		_, _ = fmt.Fprintf(io.MultiWriter(r, &want), "%0*d,", i%300, i)
	}
	_, _ = r.Write(nil)
	recorder := httptest.NewRecorder()
	r.WriteHeader(201)
	r.sendTo(recorder)
	if recorder.Code != 201 || recorder.Body.String() != want.String() {
		t.Errorf("%d, %d bytes", recorder.Code, recorder.Body.Len())
	}
	r.reset()
	if r.size != 0 || r.status != 200 {
		t.Errorf("%+v", r)
	}
}
