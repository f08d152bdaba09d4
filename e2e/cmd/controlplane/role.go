package main

import "os"

// exitOn ends a role at once when its parent is gone. There is nobody left to wait
// for a clean end, and nothing that a later start could not make do with.
func exitOn(parentGone <-chan struct{}) {
	<-parentGone
	os.Exit(1)
}
