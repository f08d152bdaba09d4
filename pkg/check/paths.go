package check

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Stdin is the path that stands for standard input.
const Stdin = "-"

// finder turns paths into the files to read, each once however it is reached, in the order of the paths and of the names
// below them.
type finder struct {
	files    []string
	seen     map[string]bool
	problems []Problem
	notes    []Problem
}

// find returns the files behind the paths.
func find(paths []string) *finder {
	f := &finder{seen: map[string]bool{}}
	for _, path := range paths {
		if path != Stdin {
			path = filepath.Clean(path)
		}
		switch info, err := os.Stat(path); {
		case path == Stdin:
			if !f.seen[Stdin] {
				f.files = append(f.files, Stdin)
			}
			f.seen[Stdin] = true
		case err != nil:
			f.fail(path, err)
		case info.IsDir():
			f.folder(path)
		case info.Mode()&fs.ModeDevice != 0:
			f.problems = append(f.problems, Problem{File: path, Message: "is a device, no file"})
		default: // a pipe as well, such as the shell's <(helm template chart)
			f.add(path)
		}
	}
	return f
}

// folder adds the YAML and JSON files of a folder and of those in it. Links to folders are not followed, as in kubectl: they
// may lead anywhere, and in circles.
func (f *finder) folder(root string) {
	found := false
	_ = fs.WalkDir(os.DirFS(root), ".", func(p string, entry fs.DirEntry, err error) error {
		path := filepath.Join(root, filepath.FromSlash(p))
		switch {
		case err != nil:
			f.fail(path, err)
			return skip(entry)
		case p != "." && strings.HasPrefix(entry.Name(), "."):
			return skip(entry)
		case entry.IsDir():
			return nil
		case entry.Type()&fs.ModeSymlink != 0:
			info, err := os.Stat(path)
			if err == nil && info.IsDir() {
				f.notes = append(f.notes, Problem{File: path, Message: "a link to a folder is not followed: name it to have it read"})
				return nil
			}
			if isManifest(path) && err != nil {
				found = true
				f.fail(path, err)
				return nil
			}
			if err == nil && !info.Mode().IsRegular() {
				return nil
			}
		case !entry.Type().IsRegular():
			return nil
		}
		if isManifest(path) {
			found = true
			f.add(path)
		}
		return nil
	})
	if !found {
		f.problems = append(f.problems, Problem{File: root, Message: "the folder holds no .yaml, .yml or .json file"})
	}
}

// skip leaves an entry of a folder out, with all that is below it.
func skip(entry fs.DirEntry) error {
	if entry != nil && entry.IsDir() {
		return fs.SkipDir
	}
	return nil
}

func isManifest(path string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(path)))
}

func (f *finder) add(path string) {
	file, err := filepath.EvalSymlinks(path)
	if err == nil {
		file, err = filepath.Abs(file)
	}
	if err != nil {
		file = path // a pipe by the name of its descriptor, for one
	}
	if !f.seen[file] {
		f.seen[file] = true
		f.files = append(f.files, path)
	}
}

func (f *finder) fail(path string, err error) {
	f.problems = append(f.problems, Problem{File: path, Message: cause(err)})
}

// cause says what is wrong without the path, which stands before it anyway.
func cause(err error) string {
	if wrong := new(fs.PathError); errors.As(err, &wrong) {
		return wrong.Err.Error()
	}
	return err.Error()
}

// open opens a file that find has returned.
func open(path string, stdin io.Reader) (io.ReadCloser, error) {
	if path == Stdin {
		return io.NopCloser(stdin), nil
	}
	return os.Open(path)
}
