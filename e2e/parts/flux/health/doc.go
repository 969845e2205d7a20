// Package health answers: what does Flux itself say about a ConfigMap of Longshore, with the files in gitops/flux?
package health
