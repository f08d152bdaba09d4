package meshwarden

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
)

// tokenLifetime is what an API server makes of the hour that a kubelet asks for, by default. Nobody renews the token here.
const tokenLifetime = 365 * 24 * time.Hour

// Token returns a token of a ServiceAccount in Meshwarden's namespace, by the API that a kubelet uses.
func (i *Installation) Token(ctx context.Context, serviceAccount string) (string, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: serviceAccount}}
	request := &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(tokenLifetime.Seconds()))},
	}
	if err := i.client.SubResource("token").Create(ctx, account, request); err != nil {
		return "", fmt.Errorf("request a token of ServiceAccount %s: %w", serviceAccount, err)
	}
	return request.Status.Token, nil
}

// grantAccess writes a kubeconfig by which a replica is the ServiceAccount. In a cluster, it would find token and CA in a
// volume.
func (i *Installation) grantAccess(ctx context.Context, serviceAccount, dir, kubeconfig string) error {
	token, err := i.Token(ctx, serviceAccount)
	if err != nil {
		return err
	}
	config := rest.AnonymousClientConfig(i.cp.Config())
	config.BearerTokenFile = filepath.Join(dir, "token")
	if err := os.WriteFile(config.BearerTokenFile, []byte(token), 0o600); err != nil {
		return fmt.Errorf("write the token: %w", err)
	}
	return controlplane.WriteKubeconfig(config, kubeconfig)
}
