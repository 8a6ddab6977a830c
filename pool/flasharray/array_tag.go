package flasharray

import (
	"context"
	"net/http"
	"strings"

	"github.com/volbridge/volbridge/pool/flasharray/rest"
)

// namespace keeps our tags apart from those of people and other programs.
const namespace = "volbridge"

// reference is how the array names an object in another one.
type reference struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// arrayTag is a tag of a volume.
type arrayTag struct {
	Namespace string     `json:"namespace"`
	Key       string     `json:"key"`   // up to 64 characters
	Value     string     `json:"value"` // up to 256
	Copyable  bool       `json:"copyable"`
	Resource  *reference `json:"resource,omitempty"`
}

// newTag makes one that stays with its volume: a copy of a volume is held by
// nobody, and was not created by who created the volume.
func newTag(key, value string) arrayTag {
	return arrayTag{Namespace: namespace, Key: key, Value: value}
}

const tagPath = volumes + "/tags"

// tags are those of ours that a volume has.
func (a array) tags(ctx context.Context, id string) ([]arrayTag, error) {
	return rest.List[arrayTag](ctx, a.Client, rest.Request{
		Path: tagPath, Query: query("resource_ids", id, "namespaces", namespace, "resource_destroyed", "false"),
	})
}

// tagsOfAll are those of ours that any volume has.
func (a array) tagsOfAll(ctx context.Context, filter string) ([]arrayTag, error) {
	return rest.List[arrayTag](ctx, a.Client, rest.Request{
		Path: tagPath, Query: query("filter", filter, "namespaces", namespace, "resource_destroyed", "false"),
	})
}

// putTags makes or replaces tags, all or none.
func (a array) putTags(ctx context.Context, id string, tags ...arrayTag) error {
	return a.Do(ctx, rest.Request{
		Method: http.MethodPut, Path: tagPath + "/batch", Query: query("resource_ids", id), Body: tags, Idempotent: true,
	}, nil)
}

// dropTags removes tags; one that is not there is no error. The array may
// refuse a whole list for the one tag in it that is missing: then it is told of
// each by itself.
func (a array) dropTags(ctx context.Context, id string, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	err := a.dropTagsAtOnce(ctx, id, keys)
	if !gone(err) {
		return err
	}
	if len(keys) == 1 {
		return nil // the tag, or the volume with it
	}
	for _, key := range keys {
		if err := a.dropTagsAtOnce(ctx, id, []string{key}); err != nil && !gone(err) {
			return err
		}
	}
	return nil
}

func (a array) dropTagsAtOnce(ctx context.Context, id string, keys []string) error {
	return a.Do(ctx, rest.Request{
		Method: http.MethodDelete, Path: tagPath, Idempotent: true,
		Query: query("resource_ids", id, "namespaces", namespace, "keys", strings.Join(keys, ",")),
	}, nil)
}
