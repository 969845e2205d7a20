package apply

import (
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Refused says in words why the API server refuses a write that it will most likely refuse again: a policy, a webhook, a quota, a missing right, an object that is not valid. It is "" for
// what may be otherwise in a moment: no answer, too many requests, a server that is not available. What [Outrun] is true for may be either.
func Refused(err error) string {
	var status apierrors.APIStatus
	if err == nil || !errors.As(err, &status) {
		return ""
	}
	switch code := status.Status().Code; {
	case apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsUnexpectedServerError(err) && code >= http.StatusBadGateway:
		return ""
	case code == http.StatusUnauthorized, code == http.StatusRequestTimeout, code == http.StatusTooManyRequests, code == http.StatusBadGateway, code == http.StatusServiceUnavailable,
		code == http.StatusGatewayTimeout, code < http.StatusBadRequest:
		return ""
	}
	return words(err)
}
