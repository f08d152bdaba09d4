package istio

import "testing"

func TestApplicationProtocol(t *testing.T) {
	tests := []struct {
		reason          string
		number          uint32
		name, transport string
		appProtocol     *string
		want            string
	}{
		{"nothing says", 8080, "web", "TCP", nil, ""},
		{"the name", 8080, "http", "TCP", nil, "HTTP"},
		{"the name's first part", 8080, "tls-web", "TCP", nil, "TLS"},
		{"a name that only begins so", 8080, "httpweb", "TCP", nil, ""},
		{"letter case does not count", 8080, "HTTPS-web", "TCP", nil, "HTTPS"},
		{"grpc-web has a hyphen of its own", 8080, "grpc-webserver", "TCP", nil, "GRPC-WEB"},
		{"grpc", 8080, "grpc-we", "TCP", nil, "GRPC"},
		{"an underscore is no hyphen", 8080, "http_proxy", "TCP", nil, "HTTP_PROXY"},
		{"UDP goes before everything", 8080, "http", "UDP", new("https"), "UDP"},
		{"appProtocol goes before the name", 8080, "http", "TCP", new("https"), "HTTPS"},
		{"an empty appProtocol, too", 8080, "http", "TCP", new(""), ""},
		{"Kubernetes' names of appProtocol", 8080, "", "TCP", new("kubernetes.io/h2c"), "HTTP2"},
		{"the one of websockets", 8080, "", "TCP", new("kubernetes.io/ws"), "HTTP"},
		{"the one of websockets over TLS", 8080, "", "TCP", new("kubernetes.io/wss"), "HTTPS"},
		{"they are none of a name", 8080, "kubernetes.io/h2c", "TCP", nil, ""},
		{"a port that is known for a protocol in which the server begins", 3306, "db", "TCP", nil, "TCP"},
		{"the name goes before such a port", 3306, "mysql", "TCP", nil, "MYSQL"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if got := applicationProtocol(tc.number, tc.name, tc.transport, tc.appProtocol); got != tc.want {
				t.Errorf("applicationProtocol(%d, %q) = %q, want %q", tc.number, tc.name, got, tc.want)
			}
		})
	}
}
