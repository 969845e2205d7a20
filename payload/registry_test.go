package payload

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// answers is a fault: every request that a path has in it gets this answer.
func answers(status int, method, part string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if (method != "" && r.Method != method) || !strings.Contains(r.URL.Path, part) {
			return false
		}
		w.WriteHeader(status)
		return true
	}
}

func TestARegistryThatRefusesIsOneLineThatSaysWhy(t *testing.T) {
	r := newRegistry(t)
	ref := r.push(t, "kata:1", imageOf(t, "amd64", layerOf(t, file{name: "a"})))
	for status, want := range map[int]string{
		401: "401 Unauthorized to GET /v2/kata/manifests/1: the credentials are wrong, or none were given",
		403: "403 Forbidden to GET /v2/kata/manifests/1: these credentials may not pull there",
		404: "404 Not Found to GET /v2/kata/manifests/1: no such repository, tag or blob",
		429: "429 Too Many Requests to GET /v2/kata/manifests/1: the registry's limit is used up",
		500: "500 Internal Server Error to GET /v2/kata/manifests/1: the registry has a problem of its own",
		503: "503 Service Unavailable to GET",
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			r.breaks(answers(status, "", "/manifests/"))
			_, err := client().Open(t.Context(), ref)
			says(t, err, "pull "+r.host+"/kata:1: registry "+r.host+" answered "+want)
			// On its very front door too.
			r.breaks(answers(status, "", "/v2/"))
			_, err = client().Open(t.Context(), ref)
			says(t, err, "pull "+r.host+"/kata:1", fmt.Sprint(status))
			// And in the middle of an image.
			r.breaks(answers(status, "", "/blobs/"))
			_, err = client().Inspect(t.Context(), ref, v1.Platform{OS: "linux", Architecture: "amd64"})
			says(t, err, "pull "+r.host+"/kata:1", fmt.Sprint(status))
		})
	}
}

func TestWhatTheRegistryItselfSaysIsTold(t *testing.T) {
	r := newRegistry(t)
	_, err := client().Open(t.Context(), r.ref(t, "nothing:1"))
	says(t, err, "pull "+r.host+"/nothing:1", "404 Not Found", "NAME_UNKNOWN")
}

func TestARegistryThatAsksOnceAndThenAnswersIsNoError(t *testing.T) {
	r := newRegistry(t)
	ref := r.push(t, "kata:1", imageOf(t, "amd64", layerOf(t, file{name: "a"})))
	for _, status := range []int{429, 500, 503} {
		asked := 0
		r.breaks(func(w http.ResponseWriter, req *http.Request) bool {
			asked++
			if strings.Contains(req.URL.Path, "/manifests/") && asked < 4 {
				w.WriteHeader(status)
				return true
			}
			return false
		})
		c := client()
		c.Backoff.Steps = 5
		if _, err := c.Open(t.Context(), ref); err != nil {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestARegistryThatSaysNothingIsGivenUp(t *testing.T) {
	r := newRegistry(t)
	ref := r.push(t, "kata:1", imageOf(t, "amd64", layerOf(t, file{name: "a", content: strings.Repeat("x", 5000)})))
	quiet := make(chan struct{})
	t.Cleanup(func() { close(quiet) })
	c := client()
	c.Timeout = 100 * time.Millisecond
	c.Backoff.Steps = 1
	r.breaks(func(_ http.ResponseWriter, req *http.Request) bool {
		select {
		case <-quiet:
		case <-req.Context().Done():
		}
		return true
	})
	_, err := c.Open(t.Context(), ref)
	says(t, err, "pull "+r.host+"/kata:1: registry "+r.host+" does not answer: nothing came for 100ms")

	// One that stops in the middle of a blob is the same.
	r.breaks(func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.Contains(req.URL.Path, "/blobs/") {
			return false
		}
		_, _ = w.Write([]byte("\x1f\x8b"))
		w.(http.Flusher).Flush()
		select {
		case <-quiet:
		case <-req.Context().Done():
		}
		return true
	})
	_, err = c.Inspect(t.Context(), ref, v1.Platform{OS: "linux", Architecture: "amd64"})
	says(t, err, "does not answer")
}

func TestARegistryThatIsNotThereIsOneLine(t *testing.T) {
	newRegistry(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = client().Open(t.Context(), refOf(t, host+"/kata:1"))
	says(t, err, "pull "+host+"/kata:1: registry "+host+": connection refused: nothing listens there")
}

func TestACertificateOfAnUnknownAuthorityIsNamed(t *testing.T) {
	newRegistry(t)
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "https://")
	_, err := client().Open(t.Context(), refOf(t, host+"/kata:1"))
	says(t, err, "pull "+host+"/kata:1: registry "+host+": its certificate is signed by an unknown authority")
}

func TestCredentialsGoToTheirRegistryOnly(t *testing.T) {
	r := newRegistry(t)
	ref := r.push(t, "kata:1", imageOf(t, "amd64", layerOf(t, file{name: "a"})))
	asks := func(w http.ResponseWriter, req *http.Request) bool {
		user, password, given := req.BasicAuth()
		if given && user == "me" && password == "secret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	r.breaks(asks)
	c := client()
	c.Logins = []Login{{Registry: r.host, Username: "me", Password: "secret"}}
	if _, err := c.Open(t.Context(), ref); err != nil {
		t.Errorf("with credentials: %v", err)
	}
	c = client()
	c.Logins = []Login{{Registry: "other.example.com", Username: "me", Password: "secret"}}
	_, err := c.Open(t.Context(), ref)
	says(t, err, "401 Unauthorized")

	// The configuration of Docker is asked for all others.
	home := t.TempDir()
	t.Setenv("DOCKER_CONFIG", filepath.Join(home, ".docker"))
	write(t, filepath.Join(home, ".docker", "config.json"), fmt.Sprintf(`{"auths": {%q: {"username": "me", "password": "secret"}}}`, r.host))
	if _, err := client().Open(t.Context(), ref); err != nil {
		t.Errorf("with the configuration of Docker: %v", err)
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCredentialsWithANewlineAreNamedAndNotShown(t *testing.T) {
	r := newRegistry(t)
	ref := r.ref(t, "kata:1")
	for _, l := range []Login{{r.host, "me\n", "secret"}, {r.host, "me", "secret\n"}, {r.host, "me", "sec\r\nret"}} {
		c := client()
		c.Logins = []Login{l}
		_, err := c.Open(t.Context(), ref)
		says(t, err, "credentials for "+r.host, "has a newline at character")
		if strings.Contains(err.Error(), "sec") {
			t.Errorf("the password is shown: %v", err)
		}
	}
	// `echo me:secret | base64` is how they come into the configuration of Docker. bWU6c2VjcmV0Cg== is that.
	home := t.TempDir()
	t.Setenv("DOCKER_CONFIG", filepath.Join(home, ".docker"))
	write(t, filepath.Join(home, ".docker", "config.json"), fmt.Sprintf(`{"auths": {%q: {"auth": "bWU6c2VjcmV0Cg=="}}}`, r.host))
	r.breaks(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	_, err := client().Open(t.Context(), ref)
	says(t, err, "credentials for "+r.host+": the password has a newline at character 7")

	write(t, filepath.Join(home, ".docker", "config.json"), "{no json")
	_, err = client().Open(t.Context(), ref)
	says(t, err, "credentials for "+r.host+": read the configuration of Docker")
}

func TestABlobThatIsNotWhatItsDigestSaysIsNamed(t *testing.T) {
	r := newRegistry(t)
	l := layerOf(t, file{name: "a", content: strings.Repeat("x", 5000)})
	ref := r.push(t, "kata:1", imageOf(t, "amd64", l))
	digest, err := l.Digest()
	if err != nil {
		t.Fatal(err)
	}
	size, err := l.Size()
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range map[string]string{"shorter": "\x1f\x8b", "longer": strings.Repeat("x", int(size)+1), "other": strings.Repeat("x", int(size))} {
		r.breaks(func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.HasSuffix(req.URL.Path, digest.String()) {
				return false
			}
			_, _ = w.Write([]byte(content))
			return true
		})
		_, err = client().Inspect(t.Context(), ref, v1.Platform{OS: "linux", Architecture: "amd64"})
		says(t, err, "pull "+ref.String()+": layer 1 of 1 ("+digest.String()+")")
	}
	// A connection that breaks in the middle.
	r.breaks(func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.HasSuffix(req.URL.Path, digest.String()) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = w.Write([]byte("\x1f\x8b"))
		return true
	})
	_, err = client().Inspect(t.Context(), ref, v1.Platform{OS: "linux", Architecture: "amd64"})
	says(t, err, "layer 1 of 1 ("+digest.String()+"): the blob is truncated")
}

func TestAHalfPushedImageIsNeverTagged(t *testing.T) {
	img := imageOf(t, "amd64", layerOf(t, file{name: "a"}), layerOf(t, file{name: "b"}))
	index := indexOf(t, map[string]v1.Image{"amd64": img, "arm64": imageOf(t, "arm64", layerOf(t, file{name: "c"}))})
	for name, a := range map[string]*Artifact{"image": {image: img}, "index": {index: index}} {
		for fault, broken := range map[string]func(http.ResponseWriter, *http.Request) bool{
			"uploads are refused":         answers(403, http.MethodPost, "/blobs/uploads/"),
			"content is refused":          answers(500, http.MethodPatch, "/blobs/uploads/"),
			"a blob cannot be completed":  answers(500, http.MethodPut, "/blobs/uploads/"),
			"manifests are refused":       answers(429, http.MethodPut, "/manifests/"),
			"the second blob is refused":  second(answers(500, http.MethodPatch, "/blobs/uploads/")),
			"the connection breaks":       func(_ http.ResponseWriter, r *http.Request) bool { return panics(r.Method == http.MethodPatch) },
			"credentials end in between":  second(answers(401, http.MethodPost, "/blobs/uploads/")),
			"the registry loses the blob": func(_ http.ResponseWriter, r *http.Request) bool { return panics(r.Method == http.MethodPut) },
		} {
			t.Run(name+": "+fault, func(t *testing.T) {
				r := newRegistry(t)
				to := r.ref(t, "kata:new")
				r.breaks(broken)
				err := client().Write(t.Context(), a, to)
				says(t, err, "push "+to.String()+": ")
				if r.hasTag(t, "kata:new") {
					t.Error("the tag is there")
				}
				// And once the registry is mended, the same push gets through.
				if err := client().Write(t.Context(), a, to); err != nil || !r.hasTag(t, "kata:new") {
					t.Errorf("pushed again: %v", err)
				}
			})
		}
	}
}

func panics(now bool) bool {
	if now {
		panic(http.ErrAbortHandler)
	}
	return false
}

// second lets one request through that a fault would have answered, and none after it.
func second(fault func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	var through int
	return func(w http.ResponseWriter, r *http.Request) bool {
		if probe := httptest.NewRecorder(); !fault(probe, r) {
			return false
		}
		through++
		if through == 1 {
			return false
		}
		return fault(w, r)
	}
}

func TestTheTagComesLast(t *testing.T) {
	r := newRegistry(t)
	index := indexOf(t, map[string]v1.Image{"amd64": imageOf(t, "amd64", layerOf(t, file{name: "a"})), "arm64": imageOf(t, "arm64", layerOf(t, file{name: "b"}))})
	if err := client().Write(t.Context(), &Artifact{index: index}, r.ref(t, "kata:new")); err != nil {
		t.Fatal(err)
	}
	last := r.seen[len(r.seen)-1]
	if last != "PUT /v2/kata/manifests/new" {
		t.Errorf("last came %s of\n%s", last, strings.Join(r.seen, "\n"))
	}
}

func TestABrokenLayerOfTheSourceIsNeverTaggedEither(t *testing.T) {
	r := newRegistry(t)
	dir := filepath.Join(t.TempDir(), "layout")
	l := layerOf(t, file{name: "a", content: strings.Repeat("x", 5000)})
	if err := client().Write(t.Context(), &Artifact{image: imageOf(t, "amd64", l)}, refOf(t, "oci:"+dir)); err != nil {
		t.Fatal(err)
	}
	digest, err := l.Digest()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "blobs", "sha256", digest.Hex), "half")
	to := r.ref(t, "kata:new")
	err = client().Write(t.Context(), open(t, refOf(t, "oci:"+dir)), to)
	says(t, err, "push "+to.String(), "blob "+digest.String()+" is truncated: 4 bytes")
	if r.hasTag(t, "kata:new") {
		t.Error("the tag is there")
	}
}

func TestADigestIsNoTarget(t *testing.T) {
	r := newRegistry(t)
	err := client().Write(t.Context(), &Artifact{image: imageOf(t, "amd64")}, r.ref(t, "kata@sha256:"+strings.Repeat("0", 64)))
	says(t, err, "expected a tag, found a digest")
}
