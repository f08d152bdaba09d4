package cel

import (
	"context"
	"errors"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiextensions-apiserver/pkg/registry/customresource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	apiadmission "k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/pkg/istio"
)

// write is a creation, or an update, as admission sees it: the API server has decoded the objects, validated them, and set
// what clients may not.
type write struct {
	// before is nil for a creation.
	before, after *unstructured.Unstructured
}

// apiServer is the API server's own code for custom resources, up to admission.
type apiServer map[string]strategy

// strategy is the code for one kind.
type strategy interface {
	rest.RESTCreateStrategy
	rest.RESTUpdateStrategy
}

// newAPIServer returns the code for kinds whose schemas are given. They have a status.
func newAPIServer(t *testing.T, schemas map[string]*apiextensions.JSONSchemaProps) apiServer {
	t.Helper()
	a := apiServer{}
	for kind, schema := range schemas {
		validator, _, err := validation.NewSchemaValidator(schema)
		noError(t, err)
		structural, err := structuralschema.NewStructural(schema)
		noError(t, err)
		a[kind] = customresource.NewStrategy(scheme.Scheme, true, istio.GroupVersion().WithKind(kind), validator, validator, structural,
			&apiextensions.CustomResourceSubresourceStatus{}, nil, nil)
	}
	return a
}

// laxSchemas let everything through: the less is refused before admission, the more is left to the expressions.
func laxSchemas() map[string]*apiextensions.JSONSchemaProps {
	lax := &apiextensions.JSONSchemaProps{Type: "object", XPreserveUnknownFields: new(true)}
	return map[string]*apiextensions.JSONSchemaProps{"Gateway": lax, "VirtualService": lax}
}

// istioSchemas are those of Istio's own CRDs.
func istioSchemas(t *testing.T) map[string]*apiextensions.JSONSchemaProps {
	t.Helper()
	documents, err := controlplane.IstioCRDs(t.Context())
	noError(t, err)
	schemas := laxSchemas()
	for document := range strings.SplitSeq(string(documents), "\n---\n") {
		crd := &apiextensionsv1.CustomResourceDefinition{}
		noError(t, yaml.Unmarshal([]byte(document), crd))
		for _, version := range crd.Spec.Versions {
			if _, ok := schemas[crd.Spec.Names.Kind]; ok && version.Name == istio.GroupVersion().Version {
				schema := &apiextensions.JSONSchemaProps{}
				noError(t, apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, schema, nil))
				schemas[crd.Spec.Names.Kind] = schema
			}
		}
	}
	return schemas
}

// write runs the objects through the API server's code; before is nil for a creation. An error means that the request does
// not get as far as admission.
func (a apiServer) write(ctx context.Context, before, after *unstructured.Unstructured) (write, error) {
	ctx = request.WithNamespace(ctx, after.GetNamespace())
	strategy, ok := a[after.GetKind()]
	if !ok {
		return write{}, errors.New("no such kind")
	}
	create := func(o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
		o, err := decode(o)
		if err != nil {
			return nil, err
		}
		rest.WipeObjectMetaSystemFields(o)
		rest.FillObjectMetaSystemFields(o)
		return o, rest.BeforeCreate(strategy, ctx, o)
	}
	if before == nil {
		o, err := create(after)
		return write{after: o}, err
	}
	if before.GetName() != after.GetName() || before.GetNamespace() != after.GetNamespace() {
		return write{}, errors.New("an update does not change the name")
	}
	var w write
	var err error
	if w.before, err = create(before); err != nil {
		return w, err
	}
	if w.after, err = decode(after); err != nil {
		return w, err
	}
	w.before.SetResourceVersion("1")
	w.after.SetResourceVersion("1")
	return w, rest.BeforeUpdate(strategy, ctx, w.after, w.before)
}

// decode converts an object to the version that is judged, and reads its metadata as the API server does, which drops what is
// unknown there and null.
func decode(o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	o = o.DeepCopy()
	if version := o.GroupVersionKind().Version; version == "v1beta1" || version == "v1alpha3" {
		o.SetAPIVersion(istio.GroupVersion().String())
	}
	metadata, found, err := objectmeta.GetObjectMeta(o.Object, false)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errors.New("the object has no metadata")
	}
	return o, objectmeta.SetObjectMeta(o.Object, metadata)
}

// attributes are what expressions are asked about.
func (w write) attributes() *apiadmission.VersionedAttributes {
	gvk := w.after.GroupVersionKind()
	resource := gvk.GroupVersion().WithResource(map[string]string{"Gateway": "gateways", "VirtualService": "virtualservices"}[gvk.Kind])
	v := &apiadmission.VersionedAttributes{VersionedKind: gvk, VersionedObject: apiadmission.NewLazyObject(w.after)}
	operation, options, old := apiadmission.Create, runtime.Object(&metav1.CreateOptions{}), runtime.Object(nil)
	if w.before != nil {
		operation, options, old = apiadmission.Update, &metav1.UpdateOptions{}, w.before
		v.VersionedOldObject = apiadmission.NewLazyObject(w.before)
	}
	v.Attributes = apiadmission.NewAttributesRecord(w.after, old, gvk, w.after.GetNamespace(), w.after.GetName(), resource, "",
		operation, options, false, &user.DefaultInfo{Name: "jane"})
	return v
}
