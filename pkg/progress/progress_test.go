package progress_test

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slipway-os/slipway/pkg/progress"
)

// screen is what a terminal shows of what was written to it.
func screen(t *testing.T, written string) string {
	t.Helper()
	control := regexp.MustCompile(`^\x1b\[([0-9]*)([AKm])`)
	lines := []string{""}
	at := 0
	for len(written) > 0 {
		if m := control.FindStringSubmatch(written); m != nil {
			written = written[len(m[0]):]
			switch n, _ := strconv.Atoi(m[1]); m[2] {
			case "A":
				at -= n
				if at < 0 {
					t.Fatalf("the cursor went above the first line")
				}
			case "K":
				lines[at] = ""
			}
			continue
		}
		if written[0] == '\n' {
			if at++; at == len(lines) {
				lines = append(lines, "")
			}
		} else {
			lines[at] += written[:1]
		}
		written = written[1:]
	}
	return strings.Join(lines, "\n")
}

// build is the same course of stages on every board.
func build(b *progress.Board) {
	resolve := b.Start("resolve", 0, progress.Items)
	resolve.Note("packages from http://mirror.example/debian")
	time.Sleep(1500 * time.Millisecond)
	resolve.Done(progress.Result{Note: "137 packages"})
	resolve.Done(progress.Result{Note: "twice"}) // counts once
	fetch := b.Start("fetch", 150_000_000, progress.Bytes)
	components := b.Start("components", 0, progress.Items)
	components.SetTotal(8)
	components.Note("compiling k8s.io/kubernetes")
	for range 5 {
		fetch.Add(10_000_000)
		time.Sleep(2 * time.Second)
	}
	components.Set(3)
	components.Set(2) // never back
	time.Sleep(5 * time.Second)
	fetch.Add(100_000_000)
	fetch.Done(progress.Result{Bytes: 150_000_000, Hits: 3, Misses: 134})
}

func TestLiveBoard(t *testing.T) {
	for _, c := range []struct {
		name    string
		options progress.Options
		want    string
	}{
		{"wide", progress.Options{Live: true, Width: func() int { return 100 }}, `
+ resolve      1.5s: 137 packages
+ fetch        15.0s: 150.0 MB, 3 of 137 from the store
- components   1m15s  3 of 8, about 2m5s left  compiling k8s.io/kubernetes
`},
		{"narrow", progress.Options{Live: true, Width: func() int { return 33 }}, `
+ resolve      1.5s: 137 package
+ fetch        15.0s: 150.0 MB, 
- components   1m15s  3 of 8, ab
`},
		{"with a title", progress.Options{Title: "[2/3] cp-amd64", Live: true, Width: func() int { return 40 }}, `
[2/3] cp-amd64
+ resolve      1.5s: 137 packages
+ fetch        15.0s: 150.0 MB, 3 of 13
- components   1m15s  3 of 8, about 2m5
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out strings.Builder
				b := progress.New(&out, c.options)
				build(b)
				time.Sleep(time.Minute)
				b.Close()
				if got := screen(t, out.String()); got != c.want[1:] {
					t.Errorf("got\n%s\nwant\n%s", got, c.want[1:])
				}
				if colour := strings.Contains(out.String(), "\x1b[32m"); colour {
					t.Error("it has colours that nobody asked for")
				}
			})
		})
	}
}

func TestColours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		b := progress.New(&out, progress.Options{Live: true, Colour: true, Width: func() int { return 80 }})
		b.Start("resolve", 0, progress.Items).Done(progress.Result{})
		b.Close()
		if want := "\x1b[2K\x1b[32m+\x1b[0m resolve      0.0s\n"; out.String() != want {
			t.Errorf("got %q, want %q", out.String(), want)
		}
	})
}

// Letters of several bytes are not cut in two.
func TestNarrowTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		b := progress.New(&out, progress.Options{Live: true, Width: func() int { return 24 }})
		b.Start("ünïcödé", 0, progress.Items).Done(progress.Result{Note: "äöü"})
		b.Close()
		if want := "\x1b[2K+ ünïcödé      0.0s: äö\n"; out.String() != want {
			t.Errorf("got %q, want %q", out.String(), want)
		}
	})
}

// Where there is no terminal, each line says something new, and none is drawn
// over.
func TestPlainBoardAndTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		b := progress.New(&out, progress.Options{})
		build(b)
		b.Close()
		b.Table()
		const want = `resolve      done in 1.5s: 137 packages
fetch        8.5s  50.0 MB of 150.0 MB, about 17.0s left
components   8.5s  0 of 8  compiling k8s.io/kubernetes
fetch        done in 15.0s: 150.0 MB, 3 of 137 from the store

STAGE              TIME      BYTES  FROM THE STORE
resolve            1.5s                          137 packages
fetch             15.0s   150.0 MB  3 of 137
`
		if out.String() != want {
			t.Errorf("got\n%s\nwant\n%s", out.String(), want)
		}
	})
}

// Each line says what its stage belongs to: lines of several builds follow one
// another.
func TestPlainBoardWithATitle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		b := progress.New(&out, progress.Options{Title: "[2/3] cp-amd64"})
		build(b)
		b.Close()
		const want = `[2/3] cp-amd64: resolve      done in 1.5s: 137 packages
[2/3] cp-amd64: fetch        8.5s  50.0 MB of 150.0 MB, about 17.0s left
[2/3] cp-amd64: components   8.5s  0 of 8  compiling k8s.io/kubernetes
[2/3] cp-amd64: fetch        done in 15.0s: 150.0 MB, 3 of 137 from the store
`
		if out.String() != want {
			t.Errorf("got\n%s\nwant\n%s", out.String(), want)
		}
	})
}

func TestStagesFromManyGoroutines(t *testing.T) {
	var out strings.Builder
	b := progress.New(&out, progress.Options{Live: true, Width: func() int { return 80 }})
	var group sync.WaitGroup
	s := b.Start("fetch", 1000, progress.Items)
	for range 10 {
		group.Go(func() {
			for range 100 {
				s.Add(1)
				s.Note("x")
			}
			b.Start("other", 0, progress.Bytes).Done(progress.Result{})
		})
	}
	group.Wait()
	b.Close()
	if !strings.Contains(out.String(), "1000 of 1000") {
		t.Errorf("got %q", out.String())
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 1_250_000: "1.2 MB", 260_000_000: "260.0 MB", 3_000_000_000: "3.0 GB"} {
		if got := progress.Size(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}
