// Command node answers: what does a payload ask of the API server?
//
// It is what label payloads need of kubectl, as a static program for images: it uses the token of its pod.
//
//	node label KEY=VALUE…   set labels of the pod's node; KEY- removes one
//	node annotate KEY=VALUE set an annotation of it, which no payload may
//	node taint KEY          set a taint of it, which no payload may
//	node daemonset NAME     exit 0 if the DaemonSet is there, 1 if not
//
// NODE_NAME says which node, NODE another one.
package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	err := run(ctx, os.Args[1:])
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New("usage: node label|annotate|taint|daemonset WORD…")
	}
	node := "/api/v1/nodes/" + cmp.Or(os.Getenv("NODE"), os.Getenv("NODE_NAME"))
	switch args[0] {
	case "label":
		return patch(ctx, node, map[string]any{"metadata": map[string]any{"labels": pairs(args[1:])}})
	case "annotate":
		return patch(ctx, node, map[string]any{"metadata": map[string]any{"annotations": pairs(args[1:])}})
	case "taint":
		return patch(ctx, node, map[string]any{"spec": map[string]any{"taints": []any{map[string]string{"key": args[1], "effect": "NoSchedule"}}}})
	case "daemonset":
		return call(ctx, http.MethodGet, "/apis/apps/v1/namespaces/longshore/daemonsets/"+args[1], nil)
	}
	return fmt.Errorf("unknown word %q", args[0])
}

func pairs(words []string) map[string]any {
	out := map[string]any{}
	for _, word := range words {
		if key, value, ok := strings.Cut(word, "="); ok {
			out[key] = value
		} else {
			out[strings.TrimSuffix(word, "-")] = nil
		}
	}
	return out
}

func patch(ctx context.Context, path string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return call(ctx, http.MethodPatch, path, text)
}

func call(ctx context.Context, method, path string, body []byte) error {
	token, err := os.ReadFile(account + "token")
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	url := "https://" + net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")) + path
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	request.Header.Set("Content-Type", "application/merge-patch+json")
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode < http.StatusBadRequest {
		return nil
	}
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	var status struct{ Message string }
	_ = json.Unmarshal(answer, &status)
	return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, cmp.Or(status.Message, string(answer)))
}
