//go:build nocontrollermanager

package main

import "errors"

// runControllerManager stands in where the build leaves kube-controller-manager out.
func runControllerManager([]string, <-chan struct{}) error {
	return errors.New("this program was built without kube-controller-manager (tag nocontrollermanager); " +
		"build it without the tag, or start with --without-controller-manager")
}

// runScheduler stands in where the build leaves kube-scheduler out.
func runScheduler([]string, <-chan struct{}) error {
	return errors.New("this program was built without kube-scheduler (tag nocontrollermanager); build it without the tag")
}

// runKwok stands in where the build leaves KWOK out.
func runKwok([]string, <-chan struct{}) error {
	return errors.New("this program was built without KWOK (tag nocontrollermanager); build it without the tag")
}
