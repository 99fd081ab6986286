// Command pause is process 1 of a pod: it holds the pod's namespaces open,
// reaps what is orphaned in them, and ends when it is told to.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// Two channels: a signal that finds its channel full is dropped, and many
	// children that end must not drown out the one that says to end.
	end, child := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	signal.Notify(child, syscall.SIGCHLD)
	for {
		reap()
		select {
		case <-child:
		case <-end:
			return
		}
	}
}

// reap collects every child that has ended.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if err != syscall.EINTR && pid <= 0 {
			return
		}
	}
}
