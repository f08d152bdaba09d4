package meshwarden

import (
	"context"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/kubernetes/pkg/volume/util"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// syncPeriod is how often a folder is compared to its Secret. A kubelet takes up to a minute and more; BeforeSync is for
// tests of that.
const syncPeriod = 200 * time.Millisecond

// BeforeSync is called before a replica gets to see a change of a Secret that is mounted, and may keep it waiting. It must
// return when ctx ends.
type BeforeSync func(ctx context.Context, changed *corev1.Secret) error

// mount is a Secret as a folder of one replica. The folder is written by the kubelet's own writer: all its files change at
// once, by one link.
type mount struct {
	secretVolume
	namespace string
	client    client.Client
	writer    *util.AtomicWriter
	version   string
}

// newMount waits until the Secret exists, as a kubelet does before it starts a container, and fills the folder.
func newMount(ctx context.Context, c client.Client, namespace string, v secretVolume, folder string) (*mount, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("mount Secret %s: %w", v.secret, err)
	}
	writer, err := util.NewAtomicWriter(folder, "meshwarden")
	if err != nil {
		return nil, fmt.Errorf("mount Secret %s: %w", v.secret, err)
	}
	m := &mount{secretVolume: v, namespace: namespace, client: c, writer: writer}
	err = wait.PollUntilContextCancel(ctx, syncPeriod, true, func(ctx context.Context) (bool, error) {
		err := m.sync(ctx, nil)
		return err == nil, client.IgnoreNotFound(err)
	})
	if err != nil {
		return nil, fmt.Errorf("mount Secret %s: %w", v.secret, err)
	}
	return m, nil
}

// follow keeps the folder like the Secret until ctx ends. What fails is tried again, as a kubelet does: a Secret that is
// deleted leaves the folder as it was.
func (m *mount) follow(ctx context.Context, before BeforeSync) {
	wait.UntilWithContext(ctx, func(ctx context.Context) { _ = m.sync(ctx, before) }, syncPeriod)
}

func (m *mount) sync(ctx context.Context, before BeforeSync) error {
	secret := &corev1.Secret{}
	if err := m.client.Get(ctx, client.ObjectKey{Namespace: m.namespace, Name: m.secret}, secret); err != nil {
		return err
	}
	if secret.ResourceVersion == m.version {
		return nil
	}
	if before != nil {
		if err := before(ctx, secret.DeepCopy()); err != nil {
			return err
		}
	}
	files := map[string]util.FileProjection{}
	for key, data := range secret.Data {
		files[key] = util.FileProjection{Data: data, Mode: m.mode}
	}
	if err := m.writer.Write(files, nil); err != nil {
		return err
	}
	m.version = secret.ResourceVersion
	return nil
}
