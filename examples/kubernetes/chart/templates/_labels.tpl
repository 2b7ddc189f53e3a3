{{- define "labels" -}}
app.kubernetes.io/name: trio-lb
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
