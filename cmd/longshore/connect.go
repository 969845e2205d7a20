package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"longshore.dev/longshore/observed"
)

// connection says how to reach a cluster.
type connection struct {
	kubeconfig string
	context    string
	namespace  string
	system     string
}

func (c *connection) flags(set *pflag.FlagSet) {
	set.StringVar(&c.kubeconfig, "kubeconfig", "", "kubeconfig file; by default $KUBECONFIG, ~/.kube/config, or the pod's own account")
	set.StringVar(&c.context, "context", "", "context of the kubeconfig")
	set.StringVarP(&c.namespace, "namespace", "n", "longshore", "namespace of specs and installers")
	set.StringVar(&c.system, "system-namespace", "longshore-system", "namespace of the controller and its turns")
}

// connect returns a client. qps is the limit of calls a second; the API server's own fairness decides below it.
func (c *connection) connect(qps float32) (*rest.Config, kubernetes.Interface, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: c.context}).ClientConfig()
	if err != nil {
		return nil, nil, fmt.Errorf("find a cluster: %w; check --kubeconfig, --context and $KUBECONFIG", err)
	}
	config.QPS, config.Burst = qps, int(qps)*2
	// Half the CPU and memory of JSON, here and in the API server; JSON Patch and server-side apply are sent as ever.
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON
	config.UserAgent = observed.Manager + "/" + version
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("set up a client for %s: %w", config.Host, err)
	}
	return config, kube, nil
}

// reach asks the API server for its version, so that a wrong address is one clear error at the start.
func reach(ctx context.Context, kube kubernetes.Interface) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	_, err := kube.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return fmt.Errorf("reach the API server: %w", err)
	}
	return nil
}

// explain puts a hint behind errors that people meet when something is not set up.
func explain(err error) string {
	text := strings.TrimSpace(err.Error())
	var urlErr *url.Error
	var opErr *net.OpError
	switch {
	case clientcmd.IsEmptyConfig(err), strings.Contains(text, "no configuration has been provided"):
		return "no cluster is configured: set $KUBECONFIG or give --kubeconfig FILE"
	case apierrors.IsForbidden(err):
		return text + "; give the account that right (kustomize/default has the controller's own), or use another one"
	case apierrors.IsUnauthorized(err):
		return text + "; the credentials of the kubeconfig are not (or no longer) valid"
	case errors.As(err, &opErr), errors.As(err, &urlErr), errors.Is(err, context.DeadlineExceeded):
		return text + "; is the cluster up, and is the address in the kubeconfig right?"
	}
	return text
}
