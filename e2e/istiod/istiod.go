// Package istiod runs the real istiod on this machine: pilot-discovery, for the pod of its own Deployment.
package istiod

import "github.com/meshwarden/meshwarden/e2e/kubelet"

// Image is the end of the repository of istiod's image.
const Image = "pilot"

// Program returns what takes the place of istiod's image: the program at the path. Everything else is what its pod says,
// but for the following.
//
// Its API server is that of --kubeconfig, by the token that the pod has in a volume. The pod's variable KUBECONFIG is of a
// remote cluster, and names a file of a Secret that is not there; in a cluster, istiod goes on to look for the token in a
// folder that is the container's own.
//
// ControlZ, its debugging interface on a fixed port of the loopback device, is on any port: pods share that device here.
//
// The readiness that a kubelet asks for at port 8080 is the real one. The certificate authority is istiod's own, since the
// Secret cacerts is optional and not there.
func Program(path string) kubelet.Program {
	return kubelet.Program{
		Path: path,
		Listen: map[int32]string{
			8080: "--httpAddr", 15010: "--grpcAddr", 15012: "--secureGRPCAddr", 15014: "--monitoringAddr", 15017: "--httpsAddr",
		},
		Options: func(at kubelet.Place) []string {
			return []string{"--kubeconfig=" + at.Kubeconfig, "--ctrlz_port=0"}
		},
	}
}
