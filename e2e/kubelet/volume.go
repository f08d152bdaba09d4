package kubelet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/volume/configmap"
	"k8s.io/kubernetes/pkg/volume/downwardapi"
	"k8s.io/kubernetes/pkg/volume/secret"
	"k8s.io/kubernetes/pkg/volume/util"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// BeforeSync is called before a container gets to see a change of a Secret that is mounted, and may keep it waiting. It must
// return when ctx ends.
type BeforeSync func(ctx context.Context, changed *corev1.Secret) error

// mount is a volume as a folder. The folder is written by the kubelet's own writer: all its files change at once, by one link.
type mount struct {
	client client.Client
	pod    *corev1.Pod
	volume *corev1.Volume
	writer *util.AtomicWriter
	// versions are those of the Secrets that the folder has, by name; tokens are kept by their path. Nobody renews them.
	versions map[string]string
	tokens   map[string][]byte
}

// newMount makes the folder, which is empty until the first sync.
func newMount(c client.Client, pod *corev1.Pod, volume *corev1.Volume, folder string) (*mount, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("mount volume %s: %w", volume.Name, err)
	}
	writer, err := util.NewAtomicWriter(folder, pod.Name)
	if err != nil {
		return nil, fmt.Errorf("mount volume %s: %w", volume.Name, err)
	}
	return &mount{client: c, pod: pod, volume: volume, writer: writer, versions: map[string]string{}, tokens: map[string][]byte{}}, nil
}

// sync makes the folder like what the volume is of. What is not there and not optional is an error that says so.
func (m *mount) sync(ctx context.Context, before BeforeSync) error {
	if m.volume.EmptyDir != nil {
		return nil
	}
	projections, mode := projectionsOf(m.volume)
	files := map[string]util.FileProjection{}
	for _, p := range projections {
		part, err := m.files(ctx, p, mode, before)
		if err != nil {
			return fmt.Errorf("mount volume %s: %w", m.volume.Name, err)
		}
		maps.Copy(files, part)
	}
	return m.writer.Write(files, nil)
}

// projectionsOf returns what the volume is of, whatever its kind, and the mode of its files.
func projectionsOf(volume *corev1.Volume) ([]corev1.VolumeProjection, *int32) {
	switch v := volume; {
	case v.Secret != nil:
		return []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: v.Secret.SecretName}, Items: v.Secret.Items, Optional: v.Secret.Optional,
		}}}, v.Secret.DefaultMode
	case v.ConfigMap != nil:
		return []corev1.VolumeProjection{{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: v.ConfigMap.LocalObjectReference, Items: v.ConfigMap.Items, Optional: v.ConfigMap.Optional,
		}}}, v.ConfigMap.DefaultMode
	case v.DownwardAPI != nil:
		return []corev1.VolumeProjection{{DownwardAPI: &corev1.DownwardAPIProjection{Items: v.DownwardAPI.Items}}}, v.DownwardAPI.DefaultMode
	case v.Projected != nil:
		return v.Projected.Sources, v.Projected.DefaultMode
	}
	return nil, nil
}

// files returns what the folder gets of one source.
func (m *mount) files(ctx context.Context, p corev1.VolumeProjection, mode *int32, before BeforeSync) (map[string]util.FileProjection, error) {
	mode = ptr.To(ptr.Deref(mode, corev1.SecretVolumeSourceDefaultMode))
	switch {
	case p.Secret != nil:
		object, optional := &corev1.Secret{}, ptr.Deref(p.Secret.Optional, false)
		if err := m.get(ctx, p.Secret.Name, object, optional); err != nil {
			return nil, err
		}
		if err := m.changed(ctx, object, before); err != nil {
			return nil, err
		}
		return secret.MakePayload(p.Secret.Items, object, mode, nil, optional)
	case p.ConfigMap != nil:
		object, optional := &corev1.ConfigMap{}, ptr.Deref(p.ConfigMap.Optional, false)
		if err := m.get(ctx, p.ConfigMap.Name, object, optional); err != nil {
			return nil, err
		}
		return configmap.MakePayload(p.ConfigMap.Items, object, mode, nil, optional)
	case p.DownwardAPI != nil:
		return downwardapi.CollectData(p.DownwardAPI.Items, m.pod, nil, mode, nil)
	case p.ServiceAccountToken != nil:
		token, err := m.token(ctx, p.ServiceAccountToken)
		return map[string]util.FileProjection{p.ServiceAccountToken.Path: {Data: token, Mode: *mode}}, err
	}
	return nil, errors.New("it is of what is not played")
}

// get reads an object of the pod's namespace. One that is optional may be missing.
func (m *mount) get(ctx context.Context, name string, object client.Object, optional bool) error {
	err := m.client.Get(ctx, client.ObjectKey{Namespace: m.pod.Namespace, Name: name}, object)
	if optional {
		return client.IgnoreNotFound(err)
	}
	return err
}

func (m *mount) changed(ctx context.Context, object *corev1.Secret, before BeforeSync) error {
	if m.versions[object.Name] == object.ResourceVersion {
		return nil
	}
	if before != nil {
		if err := before(ctx, object.DeepCopy()); err != nil {
			return err
		}
	}
	m.versions[object.Name] = object.ResourceVersion
	return nil
}

// token returns a token of the pod's ServiceAccount, which the API server takes for as long as the pod is there.
func (m *mount) token(ctx context.Context, p *corev1.ServiceAccountTokenProjection) ([]byte, error) {
	if token := m.tokens[p.Path]; token != nil {
		return token, nil
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: p.ExpirationSeconds}}
	if p.Audience != "" {
		request.Spec.Audiences = []string{p.Audience}
	}
	if m.pod.UID != "" {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: m.pod.Name, UID: m.pod.UID}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: m.pod.Namespace, Name: m.pod.Spec.ServiceAccountName}}
	if err := m.client.SubResource("token").Create(ctx, account, request); err != nil {
		return nil, fmt.Errorf("request a token of ServiceAccount %s: %w", account.Name, err)
	}
	m.tokens[p.Path] = []byte(request.Status.Token)
	return m.tokens[p.Path], nil
}
