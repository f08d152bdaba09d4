package main

import "fmt"

// chartChanges returns what makes templates of the manifests, by the manifest's path. What the kustomizations patch is
// here as well, in Helm's words; the test in e2e/chart holds that both come to the same.
func chartChanges() map[string]change {
	return map[string]change{
		"manifests/base/deployment.yaml":                     {edits: append(podEdits(), containerEdits()...)},
		"manifests/base/priorityclass.yaml":                  {when: ".Values.priorityClass.create"},
		"manifests/base/webhooks.yaml":                       {edits: webhookEdits()},
		"manifests/base/namespace-guard.yaml":                {edits: guardEdits()},
		"manifests/base/network-policy-guard.yaml":           {edits: guardEdits()},
		"manifests/overlays/self-managed/secret-guard.yaml":  {edits: guardEdits()},
		"manifests/overlays/self-managed/webhook-guard.yaml": {edits: guardEdits()},
		"certs/issuer.yaml":                                  {when: `and (eq .Values.certificate.mode "cert-manager") (not .Values.certificate.issuerRef)`},
		"certs/certificate.yaml": {edits: []edit{
			{old: "meshwarden-webhook.meshwarden.svc", new: "meshwarden-webhook.{{ .Release.Namespace }}.svc"},
			{
				old: "    group: cert-manager.io\n    kind: Issuer\n    name: meshwarden-ca\n",
				new: `    {{- with .Values.certificate.issuerRef }}
    {{- toYaml . | nindent 4 }}
    {{- else }}
    group: cert-manager.io
    kind: Issuer
    name: meshwarden-ca
    {{- end }}
`,
			},
		}},
		"manifests/components/istio-revisions/role.yaml": {edits: []edit{
			{old: "namespace: istio-system", new: `namespace: {{ .Values.istio.namespace | default "istio-system" }}`, times: 2},
		}},
		"manifests/components/static-checks/availability.yaml": {edits: []edit{
			{old: "kubectl -n meshwarden ", new: "kubectl -n {{ .Release.Namespace }} "},
		}},
		"manifests/monitoring/prometheusrule.yaml": {when: ".Values.monitoring.rules", edits: monitoringLabels()},
		"manifests/monitoring/servicemonitor.yaml": {when: ".Values.monitoring.serviceMonitor", edits: monitoringLabels()},
	}
}

// guardEdits have a guard ask about the ServiceAccount of the release alone.
func guardEdits() []edit {
	return []edit{{
		old: `  # In whatever namespace it is: a kustomization may move it. The chart knows the namespace.
  - name: is-meshwarden
    expression: request.userInfo.username.matches('^system:serviceaccount:[^:]+:meshwarden$')
`,
		new: `  - name: is-meshwarden
    expression: request.userInfo.username == 'system:serviceaccount:{{ .Release.Namespace }}:meshwarden'
`,
	}}
}

func webhookEdits() []edit {
	const validating = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata:\n  name: meshwarden\n"
	const last = "    - DELETE\n    resources:\n    - gateways\n    scope: Namespaced\n  sideEffects: NoneOnDryRun\n  timeoutSeconds: 5\n"
	return []edit{
		{
			old: "  name: meshwarden\nwebhooks:\n", times: 2,
			new: `  name: meshwarden
  {{- if eq .Values.certificate.mode "cert-manager" }}
  annotations:
    cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/meshwarden-certificate
  {{- end }}
webhooks:
`,
		},
		{old: "---\n" + validating, new: "{{- if .Values.validation }}\n---\n" + validating + "  labels:\n    app.kubernetes.io/component: validation\n"},
		{old: last, new: last + "{{- end }}\n"},
	}
}

func monitoringLabels() []edit {
	return []edit{{
		old: "  namespace: meshwarden\nspec:\n",
		new: "  namespace: meshwarden\n  labels:\n" + optional(4, "monitoring.labels") + "spec:\n",
	}}
}

// optional returns the lines that write the value as YAML, indented by n, unless it is empty.
func optional(n int, value string) string {
	return fmt.Sprintf("%*s{{- with .Values.%s }}\n%*s{{- toYaml . | nindent %d }}\n%*s{{- end }}\n", n, "", value, n, "", n, n, "")
}

// optionalField is the same for the value of a field.
func optionalField(n int, field, value string) string {
	return fmt.Sprintf("%*s{{- with .Values.%s }}\n%*s%s:\n%*s{{- toYaml . | nindent %d }}\n%*s{{- end }}\n",
		n, "", value, n, "", field, n+2, "", n+2, n, "")
}

// podEdits are those of the Deployment and its pods.
func podEdits() []edit {
	return []edit{
		{old: "  replicas: 2\n", new: "  replicas: {{ .Values.replicas }}\n"},
		{
			old: "        sidecar.istio.io/inject: \"false\"\n      annotations:\n        kubectl.kubernetes.io/default-container: webhook\n",
			new: "        sidecar.istio.io/inject: \"false\"\n" + optional(8, "podLabels") +
				"      annotations:\n        kubectl.kubernetes.io/default-container: webhook\n" + optional(8, "podAnnotations"),
		},
		{
			old: "      priorityClassName: meshwarden\n",
			new: `      {{- if .Values.priorityClass.create }}
      priorityClassName: meshwarden
      {{- else if .Values.priorityClass.name }}
      priorityClassName: {{ .Values.priorityClass.name }}
      {{- end }}
`,
		},
		{
			old: "        kubernetes.io/os: linux\n",
			new: "        kubernetes.io/os: linux\n" + optional(8, "nodeSelector") + optionalField(6, "tolerations", "tolerations") +
				optionalField(6, "affinity", "affinity") + optionalField(6, "imagePullSecrets", "imagePullSecrets"),
		},
		{
			// cert-manager's Secret is mounted; Meshwarden's own it reads itself.
			old: "            drop: [ALL]\n",
			new: `            drop: [ALL]
        {{- $mounted := eq .Values.certificate.mode "cert-manager" }}
        {{- if or $mounted .Values.clientCA.configMap }}
        volumeMounts:
        {{- if .Values.clientCA.configMap }}
        - name: client-ca
          mountPath: /etc/meshwarden/client-ca
          readOnly: true
        {{- end }}
        {{- if $mounted }}
        - name: certificate
          mountPath: /etc/meshwarden/certs
          readOnly: true
        {{- end }}
      volumes:
      {{- with .Values.clientCA.configMap }}
      - name: client-ca
        configMap:
          name: {{ . }}
      {{- end }}
      {{- if $mounted }}
      - name: certificate
        secret:
          secretName: meshwarden-certificate
      {{- end }}
      {{- end }}
`,
		},
	}
}

// containerEdits are those of the container. An option of the program that no value sets is not written, so that its
// default stands in the program alone.
func containerEdits() []edit {
	return []edit{
		{
			old: "        image: meshwarden/webhook\n",
			new: `        image: {{ include "meshwarden.image" . | quote }}
        {{- with .Values.image.pullPolicy }}
        imagePullPolicy: {{ . }}
        {{- end }}
`,
		},
		{
			old: "        args:\n        - serve\n",
			new: `        args:
        - serve
        {{- if eq .Values.certificate.mode "self-managed" }}
        - --certificate-secret=meshwarden-certificate
        {{- end }}
        {{- with .Values.enforcement }}
        - --enforcement={{ . }}
        {{- end }}
        {{- range $rule, $action := .Values.ruleActions }}
        - --rule-action={{ $rule }}={{ $action }}
        {{- end }}
        {{- if kindIs "slice" .Values.overridable }}
        - --overridable={{ join "," .Values.overridable }}
        {{- end }}
        {{- with .Values.backfill }}
        - --backfill={{ . }}
        {{- end }}
        {{- if kindIs "slice" .Values.excludeNamespaces }}
        - --exclude-namespaces={{ join "," .Values.excludeNamespaces }}
        {{- end }}
        {{- with .Values.istio.namespace }}
        - --istio-namespace={{ . }}
        {{- end }}
        {{- if .Values.readSecrets }}
        - --read-secrets
        {{- end }}
        {{- if .Values.clientCA.configMap }}
        - --client-ca-file=/etc/meshwarden/client-ca/ca.crt
        {{- end }}
        {{- with .Values.clientCA.names }}
        - --client-names={{ join "," . }}
        {{- end }}
` + optional(8, "extraArgs"),
		},
		{
			old: "        resources:\n          requests:\n            cpu: 50m\n            memory: 96Mi\n          limits:\n            memory: 512Mi\n",
			new: "        resources:\n          {{- toYaml .Values.resources | nindent 10 }}\n",
		},
	}
}
