package istio

import (
	"fmt"
	"math"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// keepPortsLabel on a Service keeps the ports of Gateways as they are: Istio's DisableGatewayPortTranslationLabel
// (pilot/pkg/model/gateway.go). Its value does not count.
const keepPortsLabel = "experimental.istio.io/disable-gateway-port-translation"

// serviceSpec holds the fields of a Service's spec that say where a port of its pods is reached.
type serviceSpec struct {
	Type     string            `json:"type"`
	Selector map[string]string `json:"selector"`
	Ports    []struct {
		Name        string  `json:"name"`
		Number      uint32  `json:"port"`
		Protocol    string  `json:"protocol"`
		AppProtocol *string `json:"appProtocol"`
		// Target is a number or the name of a container port.
		Target any `json:"targetPort"`
	} `json:"ports"`
}

// Service translates a Service. The error names the field that cannot be read.
func (t Translator) Service(s *Service) (*policy.Service, error) {
	spec, err := decodeSpec[serviceSpec](s.Spec, nil)
	if err != nil {
		return nil, err
	}
	out := &policy.Service{Key: keyOf(&s.ObjectMeta), Created: created(&s.ObjectMeta), Selector: spec.Selector, External: spec.Type == "ExternalName"}
	_, out.KeepsGatewayPorts = s.Labels[keepPortsLabel]
	for i, p := range spec.Ports {
		port := policy.ServicePort{Number: p.Number, Protocol: protocolOf(p.Protocol)}
		port.Application = applicationProtocol(p.Number, p.Name, port.Protocol, p.AppProtocol)
		if port.Target, port.TargetName, err = target(p.Target, p.Number); err != nil {
			return nil, fmt.Errorf("spec.ports[%d].targetPort: %w", i, err)
		}
		out.Ports = append(out.Ports, port)
	}
	return out, nil
}

// target reads a targetPort. None, 0 and the empty name mean the Service's own port, as the API server fills in.
func target(written any, port uint32) (number uint32, name string, err error) {
	switch written := written.(type) {
	case nil:
		return port, "", nil
	case string:
		if written == "" {
			return port, "", nil
		}
		return 0, written, nil
	case int64:
		if written == 0 {
			return port, "", nil
		}
		if written > 0 && written <= math.MaxUint32 {
			return uint32(written), "", nil
		}
	}
	return 0, "", fmt.Errorf("must be a port's number or name, not %v", written)
}
