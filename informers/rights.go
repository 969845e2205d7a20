package informers

import (
	"context"
	"fmt"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"longshore.dev/longshore/observed"
)

// No watch tells of rights that are given or taken, so that they are asked for now and then: sooner where some are missing, since somebody may be waiting
// for what they have just applied.
const (
	rightsMissing = 15 * time.Second
	rightsThere   = 5 * time.Minute
)

// WatchRights keeps the rights in snapshots that come with a component of their own, until the context ends. The first answer is in when it returns.
func (c *Cluster) WatchRights(ctx context.Context, clock clock.Clock) {
	c.askRights(ctx)
	c.looks.wait.Go(func() {
		for {
			wait := rightsThere
			if r := c.rightsNow(); r == nil || !r.Pods || !r.Evictions {
				wait = rightsMissing
			}
			select {
			case <-ctx.Done():
				return
			case <-clock.After(wait):
				c.askRights(ctx)
			}
		}
	})
}

func (c *Cluster) rightsNow() *observed.Rights {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rights
}

// askRights asks once. While nobody answers, what was known stays so.
func (c *Cluster) askRights(ctx context.Context) {
	now, err := MayLook(ctx, c.kube)
	if err != nil {
		klog.FromContext(ctx).Error(err, "cannot ask which rights the controller has")
		return
	}
	before := c.rightsNow()
	c.mu.Lock()
	c.rights = &now
	c.mu.Unlock()
	if before == nil || *before != now {
		c.changed()
	}
}

// MayLook tells which of the rights that come with a component of their own a client has.
func MayLook(ctx context.Context, kube kubernetes.Interface) (observed.Rights, error) {
	may := map[string]bool{}
	for _, ask := range []authorizationv1.ResourceAttributes{{Verb: "list"}, {Verb: "watch"}, {Verb: "create", Subresource: "eviction"}} {
		ask.Resource = "pods"
		review, err := kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &ask},
		}, metav1.CreateOptions{})
		if err != nil {
			return observed.Rights{}, fmt.Errorf("ask for the right to %s pods of all namespaces: %w", ask.Verb, err)
		}
		may[ask.Verb] = review.Status.Allowed
	}
	return observed.Rights{Pods: may["list"] && may["watch"], Evictions: may["create"]}, nil
}
