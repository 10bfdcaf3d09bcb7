package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/smiller333/dockerutilities/app/internal/engine"
)

const (
	maxBody   = 8 << 10  // of a request: far more than a reference can be long
	maxAnswer = 32 << 20 // of one answer, which is held whole until it is sent
	maxUnsent = 32 << 20 // of all answers that are sent outside of a gate

	engineRequests = 4 // at once, which need the engine
	diskRequests   = 2 // at once, which need the data directory alone
	maxWaiting     = 64

	// requestTime is less than a client has to take the answer; see the server's WriteTimeout.
	requestTime = 45 * time.Second
	patience    = 5 * time.Second
	retryAfter  = "2" // seconds
)

var errAnswerSize = fmt.Errorf("%w: more than %d bytes to show", engine.ErrUnexpected, maxAnswer)

// gate bounds how many requests are served at once. Some more wait for a while; the others are
// refused, as is one that has waited too long.
type gate struct {
	slots, waiting chan struct{}
	patience       time.Duration
}

func newGate(slots int) *gate {
	return &gate{make(chan struct{}, slots), make(chan struct{}, maxWaiting), patience}
}

func (g *gate) enter(ctx context.Context) bool {
	select {
	case g.slots <- struct{}{}:
		return true
	default:
	}
	select {
	case g.waiting <- struct{}{}:
		defer func() { <-g.waiting }()
	default:
		return false
	}
	limit := time.NewTimer(g.patience)
	defer limit.Stop()
	select {
	case g.slots <- struct{}{}:
		return true
	case <-limit.C:
	case <-ctx.Done():
	}
	return false
}

func (g *gate) leave() { <-g.slots }

// bounded serves requests behind a gate, so that neither many of them nor slow clients take more
// memory or time than there is: the request is read before the gate and the answer is sent behind
// it, as long as not too much is unsent already.
func (s *server) bounded(g *gate, next func(*reply, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTime)
		defer cancel()
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			var tooLarge *http.MaxBytesError
			if errors.As(err, &tooLarge) {
				fail(w, http.StatusRequestEntityTooLarge, "the request is too large")
			} else {
				fail(w, http.StatusBadRequest, "the request is not whole")
			}
			return
		}
		if !g.enter(ctx) {
			w.Header().Set("Retry-After", retryAfter)
			fail(w, http.StatusServiceUnavailable, "too many requests at once; try again")
			return
		}
		leave := sync.OnceFunc(g.leave)
		defer leave()
		r = r.WithContext(ctx)
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := &reply{header: w.Header(), status: http.StatusOK}
		next(answer, r)
		if s.unsent.Add(answer.size) <= maxUnsent {
			leave()
		}
		defer s.unsent.Add(-answer.size)
		answer.sendTo(w)
	}
}

// reply is an answer that is not sent before it is whole: until then it can become another one. It
// grows piece by piece, since one buffer that grows would be copied, and held twice meanwhile.
type reply struct {
	header http.Header
	status int
	pieces [][]byte
	size   int64
}

func (r *reply) Header() http.Header { return r.header }

func (r *reply) WriteHeader(status int) { r.status = status }

func (r *reply) Write(data []byte) (int, error) {
	if r.size+int64(len(data)) > maxAnswer {
		return 0, errAnswerSize
	}
	r.size += int64(len(data))
	for rest := data; len(rest) > 0; {
		last := len(r.pieces) - 1
		if last < 0 || len(r.pieces[last]) == cap(r.pieces[last]) {
			// As large as all before it, within bounds: small answers are many, large ones few.
			r.pieces = append(r.pieces, make([]byte, 0, min(max(int(r.size), 4<<10), 1<<20)))
			last++
		}
		piece := r.pieces[last]
		fits := min(len(rest), cap(piece)-len(piece))
		r.pieces[last] = append(piece, rest[:fits]...)
		rest = rest[fits:]
	}
	return len(data), nil
}

// adopt takes a piece as it is; it is not changed any more.
func (r *reply) adopt(piece []byte) {
	r.size += int64(len(piece))
	r.pieces = append(r.pieces, piece[:len(piece):len(piece)])
}

// reset forgets what was written.
func (r *reply) reset() { r.status, r.pieces, r.size = http.StatusOK, nil, 0 }

func (r *reply) sendTo(w http.ResponseWriter) {
	w.WriteHeader(r.status)
	for i, piece := range r.pieces {
		if _, err := w.Write(piece); err != nil {
			return // The client is gone.
		}
		r.pieces[i] = nil
	}
}
