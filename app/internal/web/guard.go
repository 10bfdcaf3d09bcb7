package web

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// guard stands before every handler. Without authentication, loopback is the only wall, and a
// browser on this machine stands inside it: a page from elsewhere must neither reach us under a
// name of its own (DNS rebinding) nor change anything here.
func guard(allowed []string, next http.Handler) http.Handler {
	names := lower(allowed)
	policy := "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; " +
		"img-src 'self'; connect-src 'self'; style-src '" + hash(style) + "'; script-src '" + hash(script) + "'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		switch {
		case !allowedHost(r.Host, names):
			fail(w, http.StatusForbidden, "this host name is not allowed; see --allow-host")
		case changes(r.Method) && !sameOrigin(r):
			fail(w, http.StatusForbidden, "this request comes from another site")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// lower returns names as they are compared: DNS knows no case.
func lower(names []string) []string {
	same := make([]string, 0, len(names))
	for _, name := range names {
		same = append(same, strings.ToLower(name))
	}
	return same
}

// allowedHost takes localhost, the names that the user allowed, in lower case, and any address: an
// address can't be pointed elsewhere by somebody's DNS.
func allowedHost(host string, allowed []string) bool {
	name := host
	if split, _, err := net.SplitHostPort(host); err == nil {
		name = split
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	return name == "localhost" || net.ParseIP(name) != nil || slices.Contains(allowed, name)
}

func changes(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && method != http.MethodOptions
}

// sameOrigin holds for pages of our own, and for programs, which send neither header.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	parsed, err := url.Parse(origin)
	return err == nil && parsed.Scheme == "http" && parsed.Host == r.Host
}
