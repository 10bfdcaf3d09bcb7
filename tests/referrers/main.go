// A registry for tests that knows the referrers API of OCI distribution-spec 1.1.
// It keeps everything in memory, on the address that is its only argument.
package main

import (
	"log"
	"net/http"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	server := &http.Server{
		Addr: os.Args[1],
		Handler: registry.New(
			registry.WithReferrersSupport(true),
			registry.Logger(log.New(os.Stderr, "", 0)),
		),
		ReadHeaderTimeout: 10 * time.Second,
	}
	log.Fatal(server.ListenAndServe())
}
