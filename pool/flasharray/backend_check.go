package flasharray

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/flasharray/rest"
)

// Check implements pool.Checker: the array lets this pool in, has its pod and
// its host group, and can be reached by its transport. What was remembered of
// the array is found out anew.
func (b *backend) Check(ctx context.Context) error {
	_, err := whole(ctx, b, "check", func(ctx context.Context) (struct{}, error) { return struct{}{}, b.check(ctx) })
	return err
}

func (b *backend) check(ctx context.Context) error {
	if _, err := b.array.Version(ctx); err != nil {
		return err // nothing else can be found out
	}
	role := b.checkRole(ctx)
	if errors.Is(role, rest.ErrUnreachable) {
		return role // the rest would say the same
	}
	wrong := []error{role}
	if b.place.pod != "" {
		p, err := b.findPod(ctx)
		if err == nil && p.Promotion == "demoted" {
			err = fmt.Errorf("pod %s of array %s is demoted, so that nothing can be written into it: promote it there", p.Name, b.array.Array())
		}
		if err == nil && p.Arrays > 1 {
			err = fmt.Errorf("pod %s is stretched over %d arrays: whether both know the holders of its volumes at the same time is not known, "+
				"so that two hosts might start one guest; use a pod of one array", p.Name, p.Arrays)
		}
		wrong = append(wrong, err)
	}
	if b.place.hostGroup != "" {
		wrong = append(wrong, b.checkGroup(ctx))
	}
	b.forgetKey(targetKey)
	_, err := once(ctx, b, targetKey, b.findTarget)
	return errors.Join(append(wrong, err)...)
}

// checkRole refuses a user who may only look. What an array does not tell of its
// users is no fault: they may come from a directory, or may not see themselves.
func (b *backend) checkRole(ctx context.Context) error {
	user, err := b.array.User(ctx)
	if err != nil || user == "" {
		return err
	}
	type admin struct {
		Role reference `json:"role"`
	}
	a, err := rest.One[admin](ctx, b.array.Client, rest.Request{Method: http.MethodGet, Path: "/admins", Query: query("names", user)})
	var refused *rest.Error
	if errors.As(err, &refused) && (refused.Status == http.StatusBadRequest || refused.Status == http.StatusForbidden || refused.Status == http.StatusNotFound) {
		return nil
	}
	if err == nil && (a.Role.Name == "readonly" || a.Role.Name == "ops_admin") {
		return fmt.Errorf("user %s of array %s has the role %s, which may not make, connect or tag volumes: "+
			"give it the role storage_admin, or this pool another user's token", user, b.array.Array(), a.Role.Name)
	}
	return err
}

func (b *backend) checkGroup(ctx context.Context) error {
	_, err := rest.One[reference](ctx, b.array.Client, rest.Request{
		Method: http.MethodGet, Path: "/host-groups", Query: query("names", b.place.hostGroup),
	})
	if gone(err) {
		return fmt.Errorf("array %s has no host group %s: create it there, or correct the configuration", b.array.Array(), b.place.hostGroup)
	}
	return err
}

// CheckHost says whether the array knows a host, or may be told of it when it
// first asks for a volume. It changes nothing.
func (b *backend) CheckHost(ctx context.Context, h pool.Host) error {
	_, err := whole(ctx, b, "check host "+h.Name+" for", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, b.checkHost(ctx, h)
	})
	return err
}

func (b *backend) checkHost(ctx context.Context, h pool.Host) error {
	field, initiator, err := b.place.transport.initiator(h)
	if err != nil {
		return err
	}
	b.forgetHost(h)
	e, err := b.hostOf(ctx, field, initiator)
	if errors.Is(err, rest.ErrNotFound) {
		if b.settings.CreateHost && b.place.hostGroup == "" {
			return nil
		}
		return b.unknownHost(h, initiator)
	}
	if err != nil {
		return err
	}
	_, err = b.wayOf(e)
	return err
}
