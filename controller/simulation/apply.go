package simulation

import (
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"
)

// lastApply remembers a server-side apply: the same one on the same version changes nothing.
type lastApply struct {
	body, spec, version string
}

// apply is a server-side apply. The tracker merges; the metadata that only an API server writes goes in with the patch.
func (a *API) apply(action clienttesting.PatchActionImpl) (runtime.Object, error) {
	gvr, namespace, name := action.GetResource(), action.GetNamespace(), action.GetName()
	var body map[string]any
	if err := json.Unmarshal(action.GetPatch(), &body); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	metadata, ok := body["metadata"].(map[string]any)
	if !ok {
		return nil, apierrors.NewBadRequest("the patch has no metadata")
	}
	uid, _ := metadata["uid"].(string)
	spec, err := json.Marshal(body["spec"])
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	last := a.last[applyKey(action)]
	before, err := a.tracker.Get(gvr, namespace, name)
	switch {
	case apierrors.IsNotFound(err) && uid != "":
		return nil, apierrors.NewConflict(gvr.GroupResource(), name, fmt.Errorf("uid mismatch: the provided object specified uid %s, and no existing object was found", uid))
	case apierrors.IsNotFound(err):
		metadata["resourceVersion"], metadata["generation"] = a.next(), 1
		metadata["uid"], metadata["creationTimestamp"] = fmt.Sprintf("%s-%d", name, a.version), time.Now().UTC().Truncate(time.Second).Format(time.RFC3339)
	case err != nil:
		return nil, err
	default:
		if err := precondition(gvr, before, types.UID(uid), ""); err != nil {
			return nil, err
		}
		old := accessor(before)
		if last.version == old.GetResourceVersion() && last.body == string(action.GetPatch()) {
			return before, nil
		}
		if handler, ok := body["handler"].(string); ok && handler != fmt.Sprint(fieldOf(before, "handler")) {
			return nil, apierrors.NewInvalid(before.GetObjectKind().GroupVersionKind().GroupKind(), name, nil)
		}
		generation := old.GetGeneration()
		if last.spec != string(spec) {
			generation++
		}
		metadata["resourceVersion"], metadata["generation"] = a.next(), generation
		metadata["uid"], metadata["creationTimestamp"] = string(old.GetUID()), old.GetCreationTimestamp().UTC().Format(time.RFC3339)
	}
	metadata["name"] = name
	return a.merge(action, body, string(spec))
}

// merge has the tracker merge the patch, and remembers it.
func (a *API) merge(action clienttesting.PatchActionImpl, body map[string]any, spec string) (runtime.Object, error) {
	gvr, namespace := action.GetResource(), action.GetNamespace()
	if err := a.tracker.Apply(gvr, unstructuredOf(body), namespace, action.PatchOptions); err != nil {
		return nil, err
	}
	after, err := a.tracker.Get(gvr, namespace, action.GetName())
	if err != nil {
		return nil, err
	}
	a.last[applyKey(action)] = lastApply{body: string(action.GetPatch()), spec: spec, version: accessor(after).GetResourceVersion()}
	return after, nil
}

func applyKey(action clienttesting.PatchActionImpl) string {
	return action.GetResource().Resource + " " + action.GetNamespace() + "/" + action.GetName()
}
