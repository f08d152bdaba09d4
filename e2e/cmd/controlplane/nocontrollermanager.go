//go:build nocontrollermanager

package main

import "errors"

// runControllerManager stands in where the build leaves kube-controller-manager out.
func runControllerManager([]string, <-chan struct{}) error {
	return errors.New("this program was built without kube-controller-manager (tag nocontrollermanager); " +
		"build it without the tag, or start with --without-controller-manager")
}
