// Package exitcode says with which code the program ends: whoever runs it again by itself, such as a Job, sees by that whether another
// attempt can help.
package exitcode

import "errors"

// The codes besides 0.
const (
	// Failed says that something went wrong which may be different the next time.
	Failed = 1
	// Input says that nothing was done, because of the options or the document: without a change to them it ends so each time. It is EX_CONFIG of
	// sysexits.h; 2 would be what Go ends with after a panic, which may well come halfway.
	Input = 78
)

// inputError is one of the options or the document.
type inputError struct{ error }

func (e inputError) Unwrap() error { return e.error }

// OfInput returns an error with the same message for which Of is Input; nil for none.
func OfInput(err error) error {
	if err == nil {
		return nil
	}
	return inputError{err}
}

// Of returns the code for what a command came to.
func Of(err error) int {
	switch input := new(inputError); {
	case err == nil:
		return 0
	case errors.As(err, input):
		return Input
	default:
		return Failed
	}
}
