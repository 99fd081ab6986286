package ignition

import "sync"

// maxKept bounds what is kept of a program's output.
const maxKept = 64 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
	cut  bool // the beginning is gone
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if len(t.data) > 2*maxKept {
		t.data = append([]byte(nil), t.data[len(t.data)-maxKept:]...)
		t.cut = true
	}
	return len(p), nil
}

// text returns what was kept, and whether there was more before it.
func (t *tail) text() (text string, cut bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.data), t.cut
}
