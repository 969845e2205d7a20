// Package health answers: what does Argo CD itself say about a ConfigMap of Longshore, with the files in gitops/argocd?
package health
