package informer_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// configMaps is the path of the one resource that is followed in a single namespace.
const configMaps = "namespaces/istio-system/configmaps"

// versions are the API versions of the kinds, and paths where the lists of their objects are.
var (
	versions = map[string]string{
		"Gateway": "networking.istio.io/v1", "VirtualService": "networking.istio.io/v1", "Service": "v1", "ConfigMap": "v1",
		"Deployment": "apps/v1", "DaemonSet": "apps/v1", "StatefulSet": "apps/v1", "Secret": "v1", "Certificate": "cert-manager.io/v1",
	}
	paths = map[string]string{
		"Gateway": "gateways", "VirtualService": "virtualservices", "Service": "services", "ConfigMap": configMaps,
		"Deployment": "deployments", "DaemonSet": "daemonsets", "StatefulSet": "statefulsets", "Secret": "secrets", "Certificate": "certificates",
	}
)

// apiServer is a fake API server that speaks JSON: list, watch, streaming list and get. It is fake in that it has no storage,
// checks no parameter but those of a watch, and knows nobody.
type apiServer struct {
	*httptest.Server
	// streams says whether it sends its lists as a watch, which newer API servers do and older ones refuse.
	streams bool

	mu        sync.Mutex
	version   int
	resources map[string]*resource
	requests  []string // the paths of the gets
	lists     int
}

// resource is what the server has of one resource.
type resource struct {
	kind string
	// status is 200 when the resource is served, 404 when there is no such CRD, anything else to fail.
	status  int
	objects map[string]object
	watches map[chan []byte]bool
	// selectors are the field selectors that were asked for, each once.
	selectors map[string]bool
	// events are what a watch that begins at an older version is sent first.
	events []event
	// compacted is the version before which no watch can begin.
	compacted int
}

type event struct {
	version int
	frame   []byte
}

// object is an object of the mesh in the form in which the API server sends it.
type object map[string]any

func newAPIServer(t *testing.T, streams bool) *apiServer {
	t.Helper()
	s := &apiServer{streams: streams, version: 100, resources: map[string]*resource{}}
	for kind, name := range paths {
		s.resources[name] = &resource{kind: kind, status: http.StatusOK, objects: map[string]object{}, watches: map[chan []byte]bool{}, selectors: map[string]bool{}}
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// put stores an object and tells who watches.
func (s *apiServer) put(name string, o object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.resources[name]
	event := "MODIFIED"
	if _, ok := r.objects[o.path()]; !ok {
		event = "ADDED"
	}
	s.version++
	r.objects[o.path()] = o.at(s.version)
	r.tell(s.version, event, r.objects[o.path()])
}

// remove deletes an object and tells who watches.
func (s *apiServer) remove(name string, o object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	delete(s.resources[name].objects, o.path())
	s.resources[name].tell(s.version, "DELETED", o.at(s.version))
}

// swap makes the Gateways be these without telling who watches: all watches end, and none can begin where
// it ended.
func (s *apiServer) swap(gateways ...object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.resources["gateways"]
	r.close()
	r.objects, r.events = map[string]object{}, nil
	for _, o := range gateways {
		s.version++
		r.objects[o.path()] = o.at(s.version)
	}
	s.version++
	r.compacted = s.version
}

// answer makes the resource answer with the status from now on, and ends its watches. Objects go with their CRD.
func (s *apiServer) answer(name string, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.resources[name]
	if r.status = status; status == http.StatusNotFound {
		r.objects, r.events = map[string]object{}, nil
	}
	r.close()
}

// close ends the watches.
func (r *resource) close() {
	for w := range r.watches {
		close(w)
	}
	r.watches = map[chan []byte]bool{}
}

func (r *resource) tell(version int, kind string, o object) {
	r.events = append(r.events, event{version: version, frame: frame(kind, o)})
	for w := range r.watches {
		w <- frame(kind, o)
	}
}

func frame(event string, o object) []byte {
	return append(encode(map[string]any{"type": event, "object": o}), '\n')
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // the test's own literal
	}
	return b
}

// ServeHTTP implements http.Handler.
func (s *apiServer) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	version, name := split(request.URL.Path)
	s.mu.Lock()
	r, list := s.resources[name]
	if list && versions[r.kind] != version {
		defer s.mu.Unlock()
		fail(w, http.StatusNotFound)
		return
	}
	if !list {
		defer s.mu.Unlock()
		s.get(w, name)
		return
	}
	query := request.URL.Query()
	r.selectors[query.Get("fieldSelector")] = true
	initial := query.Get("sendInitialEvents") == "true"
	switch {
	case r.status != http.StatusOK:
		s.lists++
		fail(w, r.status)
	case initial && !s.streams:
		fail(w, http.StatusUnprocessableEntity)
	case query.Get("watch") != "":
		s.watch(w, request, r, initial) // unlocks
		return
	default:
		s.lists++
		items := make([]object, 0, len(r.objects))
		for _, o := range r.objects {
			items = append(items, o)
		}
		_, _ = w.Write(encode(map[string]any{
			"apiVersion": version, "kind": r.kind + "List",
			"metadata": map[string]any{"resourceVersion": strconv.Itoa(s.version)}, "items": items,
		}))
	}
	s.mu.Unlock()
}

// watch answers a watch request until the client or the server ends it. It is called with the lock and gives it back.
func (s *apiServer) watch(w http.ResponseWriter, request *http.Request, r *resource, initial bool) {
	events := make(chan []byte, 4096) // more than any test tells, so that nobody waits with the lock
	if initial {
		s.lists++
		for _, o := range r.objects {
			events <- frame("ADDED", o)
		}
		end := object{"apiVersion": versions[r.kind], "kind": r.kind, "metadata": map[string]any{
			"resourceVersion": strconv.Itoa(s.version), "annotations": map[string]any{"k8s.io/initial-events-end": "true"},
		}}
		events <- frame("BOOKMARK", end)
	} else {
		from, _ := strconv.Atoi(request.URL.Query().Get("resourceVersion"))
		if from < r.compacted {
			events <- frame("ERROR", status(http.StatusGone))
		}
		for _, e := range r.events {
			if e.version > from {
				events <- e.frame
			}
		}
	}
	r.watches[events] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(r.watches, events)
		s.mu.Unlock()
	}()
	flusher, _ := w.(http.Flusher)
	for {
		flusher.Flush()
		select {
		case <-request.Context().Done():
			return
		case event, ok := <-events:
			if !ok {
				return
			}
			_, _ = w.Write(event)
		}
	}
}

// get answers a get by name: "namespaces/shop/gateways/web".
func (s *apiServer) get(w http.ResponseWriter, name string) {
	s.requests = append(s.requests, name)
	for _, r := range s.resources {
		if o, ok := r.objects[name]; ok {
			if r.status != http.StatusOK {
				fail(w, r.status)
				return
			}
			_, _ = w.Write(encode(o))
			return
		}
	}
	fail(w, http.StatusNotFound)
}

// fail answers as API servers do: what no API server serves is no Status.
func fail(w http.ResponseWriter, code int) {
	if code == http.StatusNotFound {
		http.Error(w, "404 page not found", code)
		return
	}
	w.WriteHeader(code)
	_, _ = w.Write(encode(status(code)))
}

func status(code int) object {
	return object{
		"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "message": fmt.Sprintf("the fake server says %d", code),
		"reason": map[int]string{http.StatusForbidden: "Forbidden", http.StatusUnprocessableEntity: "Invalid", http.StatusGone: "Expired"}[code],
	}
}

// split takes a path apart: "/apis/apps/v1/deployments" is "apps/v1" and "deployments".
func split(path string) (version, name string) {
	if name, ok := strings.CutPrefix(path, "/api/v1/"); ok {
		return "v1", name
	}
	group, rest, _ := strings.Cut(strings.TrimPrefix(path, "/apis/"), "/")
	version, name, _ = strings.Cut(rest, "/")
	return group + "/" + version, name
}

// gateway returns a Gateway "namespace/name".
func gateway(name string, hosts ...string) object {
	return newObject("Gateway", name, map[string]any{"servers": []any{map[string]any{"hosts": hosts}}})
}

// virtualService returns a VirtualService "namespace/name".
func virtualService(name string, hosts ...string) object {
	return newObject("VirtualService", name, map[string]any{"hosts": hosts})
}

func newObject(kind, name string, spec any) object {
	namespace, name, _ := strings.Cut(name, "/")
	return object{
		"apiVersion": versions[kind], "kind": kind, "spec": spec,
		"metadata": map[string]any{"namespace": namespace, "name": name, "generation": 1},
	}
}

// workload returns an object "namespace/name" that runs pods with the labels, whose one container has the arguments.
func workload(kind, name string, labels map[string]string, args ...string) object {
	return newObject(kind, name, map[string]any{"template": map[string]any{
		"metadata": map[string]any{"labels": labels},
		"spec":     map[string]any{"containers": []any{map[string]any{"name": "discovery", "args": args}}},
	}})
}

// istiod returns a Deployment of istiod with the arguments.
func istiodDeployment(name string, args ...string) object {
	return workload("Deployment", name, nil, args...).with("labels", map[string]string{"app": "istiod"})
}

// configMap returns a ConfigMap "namespace/name" with one key.
func configMap(name, key, text string) object {
	o := newObject("ConfigMap", name, nil)
	o["data"] = map[string]string{key: text}
	return o
}

// generation returns a copy of that generation.
func (o object) generation(n int) object {
	return o.with("generation", n)
}

func (o object) at(version int) object {
	return o.with("resourceVersion", strconv.Itoa(version))
}

func (o object) with(field string, value any) object {
	metadata := maps.Clone(o.metadata())
	metadata[field] = value
	o = maps.Clone(o)
	o["metadata"] = metadata
	return o
}

func (o object) metadata() map[string]any {
	m, _ := o["metadata"].(map[string]any)
	return m
}

// path is where a get finds the object.
func (o object) path() string {
	list := paths[fmt.Sprint(o["kind"])]
	return fmt.Sprintf("namespaces/%v/%s/%v", o.metadata()["namespace"], list[strings.LastIndex(list, "/")+1:], o.metadata()["name"])
}
