package policy_test

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/internal/fixture"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// TestMessages holds what each rule says, because people and their scripts read it: a change is to be seen. The page of the
// rules holds their remedies.
func TestMessages(t *testing.T) {
	tests := []struct {
		reason, fixture string
		want            []string
	}{
		{"a missing gateway", "MW101/fail_name.yaml", []string{
			`deny MW101: gateway "public" does not exist: there is no Gateway shop/public, but there is edge/public`,
		}},
		{"a name with a dot", "MW101/fail_dotted_gateway_name.yaml", []string{
			`deny MW101: gateway "public.v2" does not exist: there is no Gateway v2/public; Istio reads a name with a dot as name.namespace, ` +
				`and a Gateway with a dot in its name has to be written with its namespace: there is shop/public.v2`,
		}},
		{"the reserved name in another case", "MW101/fail_mesh_letter_case.yaml", []string{
			`deny MW101: gateway "Mesh" does not exist: there is no Gateway shop/Mesh; the reserved name is mesh, in lower case`,
		}},
		{"a missing gateway without namesake", "MW101/fail_mesh_and_gateway.yaml", []string{
			`deny MW101: gateway "public" does not exist: there is no Gateway shop/public`,
		}},
		{"a host of which nothing is near", "MW102/fail_host.yaml", []string{
			`deny MW102: host "shop.example.com" is carried by no server of gateway edge/public; it carries api.example.com`,
		}},
		{"the namespace part is at fault", "MW102/fail_dot_slash.yaml", []string{
			`deny MW102: host "shop.example.com" is carried by no server of gateway edge/public; it carries shop.example.com for namespace ` +
				`edge only`,
		}},
		{"letter case is at fault", "MW102/fail_letter_case_gateway.yaml", []string{
			`deny MW102: host "shop.example.com" is carried by no server of gateway edge/public; it carries Shop.example.com, and Istio ` +
				`tells upper from lower case`,
		}},
		{"a short name is at fault", "MW102/fail_short_name.yaml", []string{
			`deny MW102: host "web" is carried by no server of gateway edge/public (the short name stands for web.shop.svc.cluster.local); ` +
				`it carries web`,
		}},
		{"several gateways", "MW102/fail_several_gateways.yaml", []string{
			`deny MW102: host "a.example.com" is carried by no server of the gateways edge/internal, edge/public; edge/internal carries ` +
				`shop.example.com; edge/public carries shop.example.com`,
		}},
		{"a Gateway without servers", "MW102/fail_no_servers.yaml", []string{
			`deny MW102: host "shop.example.com" is carried by no server of gateway edge/public; it carries no host`,
		}},
		{"a server that Istio does not build", "MW102/fail_server_dropped_host.yaml", []string{
			`deny MW102: host "shop.example.com" is carried by no server of gateway edge/public; it has it on spec.servers[1] (port 443, ` +
				`HTTPS, SIMPLE), which Istio does not build: see what MW201, MW202, MW204 and MW206 say about the Gateway`,
		}},
		{"routes of the wrong kind", "MW103/fail_http_on_tcp.yaml", []string{
			`deny MW103: host "shop.example.com" is carried by spec.servers[0] (port 3306, TCP) of gateway edge/public, which takes spec.tcp ` +
				`routes only; the VirtualService has spec.http`,
		}},
		{"several kinds, all wrong", "MW103/fail_two_kinds.yaml", []string{
			`deny MW103: host "shop.example.com" is carried by spec.servers[0] (port 3306, TCP) of gateway edge/public, which takes spec.tcp ` +
				`routes only; the VirtualService has spec.http and spec.tls`,
		}},
		{"a server that takes no routes", "MW103/fail_tls_on_auto_passthrough.yaml", []string{
			`deny MW103: host "shop.example.com" is carried by spec.servers[0] (port 443, TLS, AUTO_PASSTHROUGH) of gateway edge/public, ` +
				`which takes no routes, as it finds Services by SNI; the VirtualService has spec.tls`,
		}},
		{"a server that lacks a tls block", "MW103/fail_http_on_https_without_tls.yaml", []string{
			`deny MW103: host "shop.example.com" is carried by spec.servers[0] (port 443, HTTPS, no tls block) of gateway edge/public, which ` +
				`takes spec.tcp routes only; the VirtualService has spec.http`,
		}},
		{"a redirecting server", "MW103/fail_tcp_on_redirect.yaml", []string{
			`deny MW103: host "shop.example.com" is carried by spec.servers[0] (port 80, HTTP, with a tls block) of gateway edge/public, ` +
				`which takes spec.http routes only; the VirtualService has spec.tcp`,
		}},
		{"exportTo leaves out the workload", "MW104/fail_own_namespace.yaml", []string{
			`deny MW104: host "shop.example.com" is not served: the VirtualService is visible in namespace shop (exportTo), but gateway ` +
				`edge/public runs on Deployment istio-system/gateway`,
		}},
		{"exportTo names several other namespaces", "MW104/fail_list.yaml", []string{
			`deny MW104: host "shop.example.com" is not served: the VirtualService is visible in the namespaces shop, edge (exportTo), but ` +
				`gateway edge/public runs on Deployment istio-system/gateway`,
		}},
		{"exportTo names none", "MW104/fail_nowhere.yaml", []string{
			`deny MW104: host "shop.example.com" is not served: the VirtualService is visible in no namespace (exportTo), but gateway ` +
				`edge/public runs on Deployment istio-system/gateway`,
		}},
		{"the default of the mesh leaves out the workload", "MW104/fail_default_own_namespace.yaml", []string{
			`deny MW104: host "shop.example.com" is not served: the VirtualService is visible in namespace shop (the mesh's ` +
				`defaultVirtualServiceExportTo), but gateway edge/public runs on Deployment istio-system/gateway`,
		}},
		{"several workloads", "MW104/fail_several_workloads.yaml", []string{
			`deny MW104: host "shop.example.com" is not served: the VirtualService is visible in namespace shop (exportTo), but gateway ` +
				`edge/public runs on Deployment edge/gateway, Deployment istio-system/gateway`,
		}},
		{"a guess", "MW104/fail_no_workload.yaml", []string{
			`warn MW104: host "shop.example.com" may not be served: the VirtualService is visible in namespace shop (exportTo), but gateway ` +
				`edge/public is in namespace edge, and so may be its workloads, of which none is known`,
		}},
		{"a useless gateway", "MW105/fail_other_serves.yaml", []string{
			`deny MW105: gateway edge/internal serves none of the hosts shop.example.com: it carries a.example.com`,
		}},
		{"a useless gateway takes no such route", "MW105/fail_wrong_kind.yaml", []string{
			`deny MW105: gateway edge/internal serves none of the hosts shop.example.com: spec.servers[0] (port 3306, TCP) takes spec.tcp ` +
				`routes only`,
		}},
		{"a useless gateway has no route", "MW105/fail_no_route.yaml", []string{
			`deny MW105: gateway edge/internal serves none of the hosts shop.example.com: no route applies to spec.servers[0] (port 8080, ` +
				`HTTP): spec.http[0].match[0] is for gateway edge/public only`,
		}},
		{"a useless gateway does not see the VirtualService", "MW105/fail_not_exported.yaml", []string{
			`deny MW105: gateway edge/internal serves none of the hosts shop.example.com: the VirtualService is visible in namespace shop ` +
				`(exportTo), but gateway edge/internal runs on Deployment istio-system/internal`,
		}},
		{"a useless gateway lacks the server", "MW105/fail_server_dropped.yaml", []string{
			`deny MW105: gateway edge/internal serves none of the hosts shop.example.com: the Gateway has shop.example.com on ` +
				`spec.servers[1] (port 80, HTTP), which Istio does not build: see what MW201, MW202, MW204 and MW206 say about the Gateway`,
		}},
		{"a useless gateway and a short name", "MW105/fail_short_name.yaml", []string{
			`deny MW105: gateway edge/internal serves none of the hosts web (web.shop.svc.cluster.local): it carries web`,
		}},
		{"a match for a gateway and for the mesh", "MW106/fail_every_entry.yaml", []string{
			`deny MW106: the match names gateway "edge/internal", which spec.gateways does not: the VirtualService is not bound to it, so ` +
				`the entry has no effect`,
			`deny MW106: the match names gateway "mesh", which spec.gateways does not: the VirtualService is not bound to it, so the entry ` +
				`has no effect`,
		}},
		{"a name beyond the server", "MW107/fail_other_name.yaml", []string{
			`deny MW107: sniHosts entry "api.example.com" reaches beyond gateway edge/public: spec.servers[0] (port 443, TLS, PASSTHROUGH) ` +
				`permits namespace shop no more than shop.example.com`,
		}},
		{"no match fits", "MW114/fail_every_match.yaml", []string{
			`deny MW114: host "shop.example.com" is carried by spec.servers[0] (port 80, HTTP) of gateway edge/public, but no route applies ` +
				`there: spec.http[0].match[0] is for port 8080 only; spec.http[0].match[1] is for gateway edge/internal only; ` +
				`spec.http[1].match[0] is for port 443 only`,
		}},
		{"no route at all", "MW114/fail_no_route.yaml", []string{
			`deny MW114: host "shop.example.com" is carried by spec.servers[0] (port 80, HTTP) of gateway edge/public, but no route applies ` +
				`there: the VirtualService has none`,
		}},
		{"a route without destination", "MW114/fail_tcp_idle.yaml", []string{
			`deny MW114: host "shop.example.com" is carried by spec.servers[0] (port 3306, TCP) of gateway edge/public, but no route applies ` +
				`there: spec.tcp[0] has no destination`,
		}},
		{"a tls route without match", "MW114/fail_tls_without_match.yaml", []string{
			`deny MW114: host "shop.example.com" is carried by spec.servers[0] (port 443, TLS, PASSTHROUGH) of gateway edge/public, but no ` +
				`route applies there: no tls route has a match`,
		}},
		{"sniHosts beyond the host", "MW114/fail_sni_wider.yaml", []string{
			`deny MW114: host "shop.example.com" is carried by spec.servers[0] (port 443, TLS, PASSTHROUGH) of gateway edge/public, but no ` +
				`route applies there: spec.tls[0].match[0] is for sniHosts *.example.com, none of which is within the host`,
		}},
		{"other workloads by label", "MW114/fail_source_labels.yaml", []string{
			`deny MW114: host "shop.example.com" is carried by spec.servers[0] (port 80, HTTP) of gateway edge/public, but no route applies ` +
				`there: spec.http[0].match[0] is for workloads with sourceLabels app=web, and the gateway's are others`,
		}},
		{"other workloads by namespace", "MW114/fail_source_namespace.yaml", []string{
			`deny MW114: host "shop.example.com" is carried by spec.servers[0] (port 80, HTTP) of gateway edge/public, but no route applies ` +
				`there: spec.http[0].match[0] is for workloads in sourceNamespace edge, and the gateway's are others`,
		}},
		{"an older Gateway has the host", "MW201/fail_same_host.yaml", []string{
			`deny MW201: Istio drops spec.servers[0] (port 443, HTTPS, SIMPLE) of Gateway edge/second with all its hosts: host ` +
				`"shop.example.com" is taken on port 443 of every workload that both select by spec.servers[0] (port 443, HTTPS, SIMPLE) of ` +
				`Gateway edge/first, which is older`,
		}},
		{"an older Gateway has the host on a workload", "MW201/fail_target.yaml", []string{
			`deny MW201: Istio drops spec.servers[0] (port 443, HTTPS, SIMPLE) of Gateway edge/second with all its hosts: host ` +
				`"shop.example.com" is taken on port 8443 of Deployment istio-system/gateway by spec.servers[0] (port 8443, HTTPS, SIMPLE) of ` +
				`Gateway edge/first, which is older`,
		}},
		{"a younger Gateway loses the host", "MW201/fail_update_of_older.yaml", []string{
			`deny MW201: this Gateway makes Istio drop spec.servers[0] (port 443, HTTPS, SIMPLE) of Gateway edge/second with all its hosts: ` +
				`host "shop.example.com" is taken on port 443 of every workload that both select by spec.servers[1] (port 443, HTTPS, SIMPLE) of ` +
				`Gateway edge/first, which is older`,
		}},
		{"the Gateway loses to itself", "MW201/fail_own_servers.yaml", []string{
			`deny MW201: Istio drops spec.servers[1] (port 443, HTTPS, SIMPLE) of Gateway edge/second with all its hosts: host ` +
				`"shop.example.com" is taken on port 443 of every workload of the Gateway by spec.servers[0] (port 443, HTTPS, SIMPLE) of ` +
				`Gateway edge/second, which comes first`,
		}},
		{"protocols that cannot share", "MW202/fail_tcp_beside_http.yaml", []string{
			`deny MW202: Istio drops spec.servers[0] (port 80, TCP) of Gateway edge/second with all its hosts: its protocol cannot share ` +
				`port 80 of every workload that both select with that of spec.servers[0] (port 80, HTTP) of Gateway edge/first, which is older`,
		}},
		{"a server that is replaced", "MW202/fail_replaced.yaml", []string{
			`deny MW202: this Gateway makes Istio drop spec.servers[0] (port 443, TLS, PASSTHROUGH) of Gateway edge/first with all its ` +
				`hosts: its protocol cannot share port 443 of every workload that both select with that of spec.servers[0] (port 443, TLS, no ` +
				`tls block) of Gateway edge/second, which takes its place`,
		}},
		{"a port name twice", "MW202/fail_port_name.yaml", []string{
			`deny MW202: Istio drops spec.servers[1] (port 443, HTTPS, SIMPLE) of Gateway edge/second with all its hosts: spec.servers[0] ` +
				`(port 443, HTTPS, SIMPLE) of Gateway edge/second has a port 443 with the name "https" as well, and the name has to tell HTTPS ` +
				`servers apart`,
		}},
		{"a name twice", "MW203/fail_namespace_parts.yaml", []string{
			`deny MW203: Envoy rejects the whole listener on port 443 of every workload that both select: spec.servers[0] (port 443, HTTPS, ` +
				`SIMPLE) of Gateway edge/second and spec.servers[0] (port 443, HTTPS, SIMPLE) of Gateway edge/first both match SNI ` +
				`"shop.example.com"`,
		}},
		{"every client twice", "MW203/fail_plain_after_any_host.yaml", []string{
			`deny MW203: Envoy rejects the whole listener on port 443 of every workload that both select: spec.servers[0] (port 443, HTTP) ` +
				`of Gateway edge/second and spec.servers[0] (port 443, HTTPS, SIMPLE) of Gateway edge/first both match every client`,
		}},
		{"a name twice on a workload", "MW203/fail_target.yaml", []string{
			`deny MW203: Envoy rejects the whole listener on port 8443 of Deployment istio-system/gateway: spec.servers[0] (port 443, HTTPS, ` +
				`SIMPLE) of Gateway edge/second and spec.servers[0] (port 8443, HTTPS, SIMPLE) of Gateway edge/first both match SNI ` +
				`"shop.example.com"`,
		}},
		{"a server with a name twice", "MW203/fail_built_twice.yaml", []string{
			`deny MW202: this Gateway makes Istio drop spec.servers[0] (port 443, TLS, PASSTHROUGH) of Gateway edge/first with all its ` +
				`hosts: its protocol cannot share port 443 of every workload that both select with that of spec.servers[0] (port 443, TLS, no ` +
				`tls block) of Gateway edge/second, which takes its place`,
			`deny MW203: Envoy rejects the whole listener on port 443 of every workload of the Gateway: spec.servers[0] (port 443, TLS, no ` +
				`tls block) of Gateway edge/second has two filter chains that match every client, by routes of VirtualService shop/web`,
		}},
		{"a list that Istio reads otherwise", "MW204/fail_before_host.yaml", []string{
			`warn MW204: "*/*" makes the list as a whole "*": the other entries, and the namespaces that they name, have no effect`,
		}},
		{"a list on which Istio fails", "MW204/fail_generator_dot_slash.yaml", []string{
			`deny MW204: an entry of "./" or "*/" after "*/*" makes Istio's generator fail: no Gateway of the workload gets its ` +
				`configuration any more`,
		}},
		{"no workload", "MW205/fail_not_every_label.yaml", []string{
			`warn MW205: no workload has the labels istio=ingressgateway,zone=a`,
		}},
		{"no workload in the namespace", "MW205/fail_scoped.yaml", []string{
			`warn MW205: no workload has the labels istio=ingressgateway in namespace edge, and istiod lets Gateways select workloads of ` +
				`their own namespace only`,
		}},
		{"no gateway workload in the namespace", "MW205/fail_scoped_no_selector.yaml", []string{
			`warn MW205: no workload is known as a gateway in namespace edge, and istiod lets Gateways select workloads of their own ` +
				`namespace only`,
		}},
		{"a port that no Service has", "MW206/fail_every_service.yaml", []string{
			`warn MW206: port 80 is not reachable on Deployment istio-system/gateway: none of its Services (istio-system/gateway, ` +
				`istio-system/gateway-tcp) leads to it`,
		}},
		{"a privileged port", "MW206/fail_unprivileged_target.yaml", []string{
			`warn MW206: port 8080 is not reachable on Deployment istio-system/gateway: its pods are unprivileged, and Istio does not have ` +
				`them listen on port 80`,
		}},
		{"an update orphans a host", "MW207/fail_host_removed.yaml", []string{
			`deny MW207: VirtualService shop/web uses host "shop.example.com", which no gateway that it names would serve any more`,
		}},
		{"an update orphans a host by its protocol", "MW207/fail_protocol.yaml", []string{
			`deny MW207: VirtualService shop/web uses host "shop.example.com", which no gateway that it names would serve any more: ` +
				`spec.servers[0] (port 80, TCP) takes spec.tcp routes only`,
		}},
		{"an update orphans a host by its port", "MW207/fail_port.yaml", []string{
			`deny MW207: VirtualService shop/web uses host "shop.example.com", which no gateway that it names would serve any more: no route ` +
				`applies to spec.servers[0] (port 8080, HTTP): spec.http[0].match[0] is for port 80 only`,
		}},
		{"an update orphans a host by its selector", "MW207/fail_selector.yaml", []string{
			`deny MW207: VirtualService shop/web uses host "shop.example.com", which no gateway that it names would serve any more: the ` +
				`VirtualService is visible in namespace shop (exportTo), but gateway edge/public runs on Deployment istio-system/internal`,
		}},
		{"a deletion orphans a host", "MW207/fail_delete.yaml", []string{
			`warn MW207: VirtualService shop/web uses host "shop.example.com", which no gateway that it names would serve any more`,
		}},
		{"a Secret that is not there", "MW209/fail_missing.yaml", []string{
			`warn MW209: there is no Secret istio-system/web-tls, and Istio looks for it in that namespace, where Deployment ` +
				`istio-system/gateway runs`,
		}},
		{"a Secret that is in another namespace", "MW209/fail_missing_elsewhere.yaml", []string{
			`warn MW209: there is no Secret istio-system/web-tls, and Istio looks for it in that namespace, where Deployment ` +
				`istio-system/gateway runs: Secret web-tls is in namespace edge`,
		}},
		{"a Secret that is nowhere", "MW209/fail_missing_no_workload.yaml", []string{
			`warn MW209: no namespace has a Secret web-tls, and no Certificate writes one`,
		}},
		{"a Certificate that writes to another namespace", "MW209/fail_elsewhere.yaml", []string{
			`warn MW209: Certificate edge/web writes Secret web-tls to namespace edge, but Istio looks for it in namespace ` +
				`istio-system, where Deployment istio-system/gateway runs`,
		}},
		{"a Certificate where no workload can run", "MW209/fail_scoped.yaml", []string{
			`warn MW209: Certificate istio-system/web writes Secret web-tls to namespace istio-system, but Istio looks for it in ` +
				`namespace edge, where the gateway's workload has to run`,
		}},
		{"a Secret of another namespace by its full name", "MW209/fail_other_namespace.yaml", []string{
			`warn MW209: Secret edge/web-tls is asked for, but Istio gives proxies Secrets of their own namespace only: this one ` +
				`would have to be in namespace istio-system, where Deployment istio-system/gateway runs`,
		}},
		{"a Secret that holds something else", "MW209/fail_wrong_keys.yaml", []string{
			`warn MW209: Secret istio-system/web-tls has neither tls.crt and tls.key nor cert and key`,
		}},
		{"half a pair", "MW209/fail_no_key.yaml", []string{
			`warn MW209: Secret istio-system/web-tls cannot be used: tls.key is missing`,
		}},
		{"two halves", "MW209/fail_other_key.yaml", []string{
			`warn MW209: Secret istio-system/web-tls cannot be used: tls.crt and tls.key: private key does not match public key`,
		}},
		{"an expired certificate", "MW209/fail_secret_expired.yaml", []string{
			`warn MW209: Secret istio-system/web-tls holds a certificate that expired on 2020-01-01 00:00 UTC`,
		}},
		{"a certificate before its time", "MW209/fail_not_yet_valid.yaml", []string{
			`warn MW209: Secret istio-system/web-tls holds a certificate that is not valid before 2110-01-01 00:00 UTC`,
		}},
		{"other names", "MW209/fail_names.yaml", []string{
			`warn MW209: Certificate istio-system/web is for shop.example.org, and that does not cover shop.example.com`,
		}},
		{"other names in a Secret", "MW209/fail_secret_names.yaml", []string{
			`warn MW209: Secret istio-system/web-tls is for web.example.com, and that does not cover shop.example.com`,
		}},
		{"an issuance that failed", "MW209/fail_failing.yaml", []string{
			`warn MW209: Certificate istio-system/web is not issued: cert-manager says "The certificate request has failed to ` +
				`complete and will be retried: the order is in the state invalid"`,
		}},
		{"an issuance without end", "MW209/fail_unfinished.yaml", []string{
			`warn MW209: Certificate istio-system/web is not ready since 2020-01-01 00:00 UTC: cert-manager says "Issuing ` +
				`certificate as Secret does not exist"`,
		}},
		{"an expired Certificate", "MW209/fail_expired.yaml", []string{
			`warn MW209: what Certificate istio-system/web has written expired on 2020-01-01 00:00 UTC`,
		}},
		{"a renewal that does not come", "MW209/fail_renewal_overdue.yaml", []string{
			`warn MW209: what Certificate istio-system/web has written expires on 2120-01-01 00:00 UTC, and its renewal is due since ` +
				`1900-01-01 00:00 UTC`,
		}},
		{"no CA for clients", "MW209/fail_mutual_without_ca.yaml", []string{
			`warn MW209: mode MUTUAL needs a CA to check clients against, but Secret istio-system/web-tls has neither ca.crt nor ` +
				`cacert, and there is no Secret istio-system/web-tls-cacert`,
		}},
		{"an expired CA for clients", "MW209/fail_mutual_ca_expired.yaml", []string{
			`warn MW209: the CA for clients: Secret istio-system/web-tls-cacert holds a certificate that expired on 2020-01-01 00:00 ` +
				`UTC`,
		}},
		{"a CA that is named and not there", "MW209/fail_mutual_named.yaml", []string{
			`warn MW209: there is neither Secret istio-system/clients-cacert nor istio-system/clients, where Deployment ` +
				`istio-system/gateway runs`,
		}},
	}
	worded := map[string]bool{}
	for _, tc := range tests {
		worded[tc.fixture[:len("MW102")]] = true
		t.Run(tc.reason, func(t *testing.T) {
			text, err := os.ReadFile(fixturesFolder + "/" + tc.fixture)
			if err != nil {
				t.Fatal(err)
			}
			f, err := fixture.Parse(tc.fixture, string(text))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, found := range findingsOf(t, changeOf(t, f)) {
				got = append(got, string(found.Action)+" "+found.Rule+": "+found.Message)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
	for _, r := range policy.Rules() {
		if !worded[r.ID] {
			t.Errorf("no case holds the wording of %s %s", r.ID, r.Name)
		}
	}
}
