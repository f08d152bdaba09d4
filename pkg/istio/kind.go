package istio

import (
	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// KindConfigMap is the kind of the object that holds the mesh configuration. The model holds no such objects, but what
// ParseMeshConfig reads from one.
const KindConfigMap policy.Kind = "ConfigMap"

// GroupVersion returns the version in which Meshwarden reads and judges Istio's objects. The API server converts the older
// ones to it.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: "networking.istio.io", Version: "v1"}
}

// form is how objects of a kind come from the API server.
type form struct {
	kind    policy.Kind
	version schema.GroupVersion
	object  func() Object
	list    func() runtime.Object
}

func forms() []form {
	core, apps := schema.GroupVersion{Version: "v1"}, schema.GroupVersion{Group: "apps", Version: "v1"}
	return []form{
		{policy.KindGateway, GroupVersion(), func() Object { return &Gateway{} }, func() runtime.Object { return &GatewayList{} }},
		{policy.KindVirtualService, GroupVersion(), func() Object { return &VirtualService{} }, func() runtime.Object { return &VirtualServiceList{} }},
		{policy.KindService, core, func() Object { return &Service{} }, func() runtime.Object { return &ServiceList{} }},
		{policy.KindPod, core, func() Object { return &Pod{} }, func() runtime.Object { return &PodList{} }},
		{policy.KindSecret, core, func() Object { return &Secret{} }, func() runtime.Object { return &SecretList{} }},
		{policy.KindCertificate, certmanagerv1.SchemeGroupVersion, func() Object { return &Certificate{} }, func() runtime.Object { return &CertificateList{} }},
		{KindConfigMap, core, func() Object { return &ConfigMap{} }, func() runtime.Object { return &ConfigMapList{} }},
		{policy.KindDeployment, apps, func() Object { return &Deployment{} }, func() runtime.Object { return &DeploymentList{} }},
		{policy.KindDaemonSet, apps, func() Object { return &DaemonSet{} }, func() runtime.Object { return &DaemonSetList{} }},
		{policy.KindStatefulSet, apps, func() Object { return &StatefulSet{} }, func() runtime.Object { return &StatefulSetList{} }},
	}
}

// GroupVersionOf returns the version in which objects of the kind are read, or false for a kind that is not.
func GroupVersionOf(kind policy.Kind) (schema.GroupVersion, bool) {
	for _, f := range forms() {
		if f.kind == kind {
			return f.version, true
		}
	}
	return schema.GroupVersion{}, false
}

// KindOf returns the kind of the objects of an API group and kind, or false for one that is not read: others have a
// Gateway or a Service, too.
func KindOf(gk schema.GroupKind) (policy.Kind, bool) {
	kind := policy.Kind(gk.Kind)
	version, ok := GroupVersionOf(kind)
	return kind, ok && version.Group == gk.Group
}

// NewObject returns an empty object of the kind, or false for a kind that is not read.
func NewObject(kind policy.Kind) (Object, bool) {
	for _, f := range forms() {
		if f.kind == kind {
			return f.object(), true
		}
	}
	return nil, false
}

// NewList returns an empty list of objects of the kind, or false for a kind that is not read.
func NewList(kind policy.Kind) (runtime.Object, bool) {
	for _, f := range forms() {
		if f.kind == kind {
			return f.list(), true
		}
	}
	return nil, false
}

// AddToScheme registers the package's types. A scheme cannot hold them beside Kubernetes' own types for the same kinds.
func AddToScheme(s *runtime.Scheme) error {
	for _, f := range forms() {
		s.AddKnownTypeWithName(f.version.WithKind(string(f.kind)), f.object())
		s.AddKnownTypeWithName(f.version.WithKind(string(f.kind)+"List"), f.list())
		metav1.AddToGroupVersion(s, f.version)
	}
	return nil
}
