package render

import (
	"fmt"
	"strings"
)

// warnings collects what Istio's renderer would print. It is a clog.Logger.
type warnings []string

func (w *warnings) add(s string) {
	if s = strings.TrimSpace(strings.TrimPrefix(s, "❗")); s != "" {
		*w = append(*w, s)
	}
}

func (w *warnings) LogAndPrint(v ...any)            { w.add(fmt.Sprint(v...)) }
func (w *warnings) LogAndError(v ...any)            { w.add(fmt.Sprint(v...)) }
func (w *warnings) LogAndFatal(v ...any)            { w.add(fmt.Sprint(v...)) }
func (w *warnings) LogAndPrintf(f string, v ...any) { w.add(fmt.Sprintf(f, v...)) }
func (w *warnings) LogAndErrorf(f string, v ...any) { w.add(fmt.Sprintf(f, v...)) }
func (w *warnings) LogAndFatalf(f string, v ...any) { w.add(fmt.Sprintf(f, v...)) }
func (w *warnings) Print(s string)                  { w.add(s) }
func (w *warnings) PrintErr(s string)               { w.add(s) }
