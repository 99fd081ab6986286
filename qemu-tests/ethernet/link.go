package ethernet

import (
	"bufio"
	"cmp"
	"container/heap"
	"io"
	"net"
	"sync"
	"time"
)

// maxQueued bounds the bytes that wait for one machine. A machine that does
// not take its frames loses what comes on top.
const maxQueued = 4 << 20

// link is the connection of one machine.
type link struct {
	conn   net.Conn
	reader io.Reader
	wake   chan struct{} // something was queued
	closed chan struct{}
	once   sync.Once

	mu     sync.Mutex
	queue  queue
	size   int // bytes in the queue
	queued uint64
}

func newLink(c net.Conn) *link {
	return &link{conn: c, reader: bufio.NewReaderSize(c, maxFrame), wake: make(chan struct{}, 1), closed: make(chan struct{})}
}

// close ends the connection. A nil link is none.
func (l *link) close() {
	if l == nil {
		return
	}
	l.once.Do(func() { close(l.closed) })
	l.conn.Close()
}

// send queues a frame, to leave at a given time at the earliest.
func (l *link) send(f frame, due time.Time) {
	l.mu.Lock()
	if l.size+len(f) > maxQueued {
		l.mu.Unlock()
		return
	}
	l.queued++
	l.size += len(f)
	heap.Push(&l.queue, waiting{f, due, l.queued})
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// next returns the first frame that is due, or else how long until one is; 0
// if none waits.
func (l *link) next() (frame, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil, 0
	}
	if until := time.Until(l.queue[0].due); until > 0 {
		return nil, until
	}
	f := heap.Pop(&l.queue).(waiting).frame
	l.size -= len(f)
	return f, 0
}

// write sends what is queued until the connection ends.
func (l *link) write() {
	for {
		f, until := l.next()
		if f != nil {
			if _, err := l.conn.Write(f); err != nil {
				l.close() // the reader sees it end
				return
			}
			continue
		}
		var due <-chan time.Time
		if until > 0 {
			due = time.After(until)
		}
		select {
		case <-l.wake:
		case <-due:
		case <-l.closed:
			return
		}
	}
}

// waiting is a frame that waits for its time.
type waiting struct {
	frame  frame
	due    time.Time
	number uint64 // those due at the same time leave in the order they came
}

// queue is a heap, as the shorter of two delays may be that of the later frame.
type queue []waiting

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q queue) Less(i, j int) bool {
	return cmp.Or(q[i].due.Compare(q[j].due), cmp.Compare(q[i].number, q[j].number)) < 0
}
func (q *queue) Push(x any) { *q = append(*q, x.(waiting)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	w := (*q)[last]
	(*q)[last] = waiting{}
	*q = (*q)[:last]
	return w
}
