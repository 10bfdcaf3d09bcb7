// A registry for tests that knows the referrers API of OCI distribution-spec 1.1.
// It keeps everything in memory, on the address that is its only argument, and answers who has
// the credentials that are in the variables REFERRERS_USER and REFERRERS_PASSWORD.
package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// same compares without telling by its time how much of it was right, nor how long it is.
func same(given, wanted string) bool {
	one, other := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(wanted))
	return subtle.ConstantTimeCompare(one[:], other[:]) == 1
}

func withCredentials(user, password string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		givenUser, givenPassword, given := r.BasicAuth()
		userIsRight, passwordIsRight := same(givenUser, user), same(givenPassword, password)
		if !given || !userIsRight || !passwordIsRight {
			w.Header().Set("WWW-Authenticate", `Basic realm="loopback"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// withoutDeletion refuses to delete manifests: the registry would keep their tags, which no other does.
func withoutDeletion(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/manifests/") {
			http.Error(w, `{"errors":[{"code":"UNSUPPORTED"}]}`, http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func main() {
	user, password := os.Getenv("REFERRERS_USER"), os.Getenv("REFERRERS_PASSWORD")
	if user == "" || password == "" {
		log.Fatal("REFERRERS_USER and REFERRERS_PASSWORD are needed")
	}
	known := registry.New(
		registry.WithReferrersSupport(true),
		registry.Logger(log.New(os.Stderr, "", 0)),
	)
	server := &http.Server{
		Addr:              os.Args[1],
		Handler:           withCredentials(user, password, withoutDeletion(known)),
		ReadHeaderTimeout: 10 * time.Second,
	}
	log.Fatal(server.ListenAndServe())
}
