package meshwarden

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
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
