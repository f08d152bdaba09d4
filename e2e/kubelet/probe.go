package kubelet

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// slower is how many times as long as it says a probe waits for an answer. The second that most of them allow is nothing on a
// machine that tests share, which may stand still for as long; that says nothing about the program.
const slower = 20

// checkProbe fails when the probe is one that cannot be played. Nil is none.
func checkProbe(probe *corev1.Probe, ports []corev1.ContainerPort) error {
	var port intstr.IntOrString
	switch {
	case probe == nil:
		return nil
	case probe.HTTPGet != nil && probe.HTTPGet.Host == "":
		port = probe.HTTPGet.Port
	case probe.TCPSocket != nil && probe.TCPSocket.Host == "":
		port = probe.TCPSocket.Port
	default:
		return fmt.Errorf("a probe is not by HTTP or TCP, or of another host")
	}
	if _, ok := portNumber(port, ports); !ok {
		return fmt.Errorf("a probe asks port %s, which the container does not have", port.String())
	}
	return nil
}

// portNumber returns the number of the container's port that a probe or a Service refers to.
func portNumber(ref intstr.IntOrString, ports []corev1.ContainerPort) (int32, bool) {
	for _, p := range ports {
		if ref.StrVal != "" && ref.StrVal == p.Name || ref.StrVal == "" && ref.IntVal == p.ContainerPort {
			return p.ContainerPort, true
		}
	}
	return 0, false
}

// Ask probes the container, and returns what its answer says is wrong. The probe must be one of its own.
func (s *Sandbox) Ask(ctx context.Context, probe *corev1.Probe) error {
	ctx, cancel := context.WithTimeout(ctx, slower*time.Duration(max(probe.TimeoutSeconds, 1))*time.Second)
	defer cancel()
	if probe.TCPSocket != nil {
		number, _ := portNumber(probe.TCPSocket.Port, s.Container.Ports)
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addresses[number])
		if err != nil {
			return err
		}
		return connection.Close()
	}
	get := probe.HTTPGet
	number, _ := portNumber(get.Port, s.Container.Ports)
	scheme := "http"
	if get.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+s.Addresses[number]+get.Path, nil)
	if err != nil {
		return err
	}
	for _, h := range get.HTTPHeaders {
		request.Header.Add(h.Name, h.Value)
	}
	// As a kubelet does: each probe on its own connection, and no matter whose certificate it is.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // see above
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() // it is only read
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s answers %d: %s", get.Path, response.StatusCode, body)
	}
	return err
}
