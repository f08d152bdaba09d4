package istio

import "strings"

// applicationProtocol is what Istio takes the traffic of a Service's port for: Istio's kube.ConvertProtocol
// (pkg/config/kube/conversion.go). appProtocol counts before the port's name, of which the part before the first hyphen is
// read. It is "" where neither says anything.
func applicationProtocol(number uint32, name, transport string, appProtocol *string) string {
	if transport == "UDP" {
		return "UDP"
	}
	if appProtocol != nil {
		name = *appProtocol
		switch name {
		case "kubernetes.io/h2c":
			return "HTTP2"
		case "kubernetes.io/ws":
			return "HTTP"
		case "kubernetes.io/wss":
			return "HTTPS"
		}
	}
	const grpcWeb = "GRPC-WEB"
	upper := strings.ToUpper(name)
	if strings.HasPrefix(upper, grpcWeb) {
		return grpcWeb
	}
	switch prefix, _, _ := strings.Cut(upper, "-"); prefix {
	case "TCP", "UDP", "GRPC", "HTTP", "HTTP_PROXY", "HTTP2", "HTTPS", "TLS", "MONGO", "REDIS", "MYSQL":
		return prefix
	}
	switch number {
	case 25, 53, 3306, 27017:
		// SMTP, DNS, MySQL and MongoDB begin with the server's word, so Istio does not look for HTTP on their ports.
		return "TCP"
	}
	return ""
}
