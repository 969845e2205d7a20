package faults

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// watch is one watch under way.
type watch struct {
	io.ReadCloser
	proxy *Proxy
	// path is what is watched.
	path string
	once sync.Once
	cut  chan struct{}
}

// watch takes hold of the answers that are watches.
func (p *Proxy) watch(response *http.Response) error {
	query := response.Request.URL.Query()
	if response.StatusCode != http.StatusOK || !slices.Contains([]string{"true", "1"}, query.Get("watch")) {
		return nil
	}
	w := &watch{ReadCloser: response.Body, proxy: p, path: response.Request.URL.Path, cut: make(chan struct{})}
	p.mu.Lock()
	p.watches[w] = true
	p.mu.Unlock()
	response.Body = w
	return nil
}

// Read gives events on, later where watches are held back. It ends where they are broken off.
func (w *watch) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	w.proxy.mu.Lock()
	held := w.proxy.held
	w.proxy.mu.Unlock()
	if held == nil || n == 0 {
		return n, err
	}
	select {
	case <-held:
		return n, err
	case <-w.cut:
		return 0, io.ErrUnexpectedEOF
	}
}

// Close ends the watch.
func (w *watch) Close() error {
	w.once.Do(func() { close(w.cut) })
	w.proxy.mu.Lock()
	delete(w.proxy.watches, w)
	w.proxy.mu.Unlock()
	return w.ReadCloser.Close()
}

// HoldWatches keeps every event of every watch back until [Proxy.ReleaseWatches].
func (p *Proxy) HoldWatches() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = make(chan struct{})
	}
}

// ReleaseWatches lets events through again, those that were held back first.
func (p *Proxy) ReleaseWatches() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil {
		close(p.held)
		p.held = nil
	}
}

// BreakWatches cuts every watch off, in the middle of whatever it was saying. It returns how many there were.
func (p *Proxy) BreakWatches() int {
	p.mu.Lock()
	var broken []*watch
	for w := range p.watches {
		broken = append(broken, w)
	}
	p.mu.Unlock()
	for _, w := range broken {
		_ = w.Close()
	}
	return len(broken)
}

// Watched tells whether a watch of the resource, as it is called in paths, is under way.
func (p *Proxy) Watched(resource string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.watches {
		if strings.HasSuffix(w.path, "/"+resource) {
			return true
		}
	}
	return false
}
