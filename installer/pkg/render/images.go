package render

import (
	"maps"
	"slices"
	"strings"

	proxyconfig "istio.io/api/networking/v1beta1"
	"istio.io/istio/operator/pkg/apis"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/kube/inject"
	"istio.io/istio/pkg/util/protomarshal"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Images returns every image that the objects of a rendering lead to, each once and sorted: those of their own pods, and those that istiod gives to the
// pods that it injects and to the gateways that it deploys, which only ConfigMaps name. An image that only an annotation asks for (a proxy of one's
// own, another template than the default ones) is not among them.
func Images(r Rendering) []string {
	images := map[string]bool{}
	var injectors []string
	var proxyImage *proxyconfig.ProxyImage
	for _, c := range r.Components {
		for _, o := range c.Objects {
			for _, image := range podImages(o) {
				images[image] = true
			}
			if o.GetKind() != "ConfigMap" {
				continue
			}
			data, _, _ := unstructured.NestedStringMap(o.Object, "data")
			if strings.HasPrefix(o.GetName(), "istio-sidecar-injector") {
				injectors = append(injectors, data["values"])
			}
			if m, err := mesh.ApplyMeshConfigDefaults(data["mesh"]); err == nil && data["mesh"] != "" {
				proxyImage = m.GetDefaultConfig().GetImage()
			}
		}
	}
	for _, v := range injectors {
		for _, image := range injectedImages(v, proxyImage) {
			images[image] = true
		}
	}
	return slices.Sorted(maps.Keys(images))
}

// podImages returns the images in an object's pod template, if it has one. "auto" is no image: it asks to be replaced at injection.
func podImages(o *unstructured.Unstructured) []string {
	var images []string
	for _, field := range []string{"initContainers", "containers"} {
		containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", field)
		for _, c := range containers {
			container, _ := c.(map[string]any)
			if image, _ := container["image"].(string); image != "" && image != "auto" {
				images = append(images, image)
			}
		}
	}
	return images
}

// injectedImages returns what istiod makes of the injector's values, by istiod's own functions, except for names with a slash: istiod's templates take
// those as they are.
func injectedImages(injector string, proxy *proxyconfig.ProxyImage) []string {
	v := &apis.Values{}
	if err := protomarshal.ApplyYAML(injector, v); err != nil {
		return nil // istiod would not start with it, and injects nothing
	}
	global := v.GetGlobal()
	images := []string{
		whole(global.GetProxy().GetImage(), inject.ProxyImage(v, proxy, nil)),
		whole(global.GetProxyInit().GetImage(), inject.ProxyInitImage(v, nil)),
	}
	if v.GetPilot().GetEnv().GetFields()["PILOT_ENABLE_AGENTGATEWAY"].GetStringValue() == "true" {
		images = append(images, whole(global.GetAgentgateway().GetImage(), inject.AgentgatewayImage(v, proxy, nil)))
	}
	return images
}

// whole returns the name where that is an image already, and otherwise the image that was computed of it.
func whole(name, computed string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return computed
}
