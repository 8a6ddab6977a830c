package flasharray

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/volbridge/volbridge/pool/flasharray/rest"
)

// way is through what a volume is connected: a host or a host group of the
// array.
type way struct{ host, group string }

// arrayConnection is a volume that a host or a host group reaches.
type arrayConnection struct {
	Host   reference `json:"host"`
	Group  reference `json:"host_group"`
	Volume reference `json:"volume"`
	NSID   uint32    `json:"nsid"` // 0: the array does not say (before 2.27, and for some host groups)
}

const connections = "/connections"

// connectionQuery names the volume by its id: its name may be another's by now.
func connectionQuery(w way, v volume) url.Values {
	return query("host_names", w.host, "host_group_names", w.group, "volume_ids", v.ID)
}

// connecting is what came of a request for a connection.
type connecting int

const (
	connMade    connecting = iota
	connExisted            // there was one before
	connUnclear            // there was one, or an earlier request made it whose reply was lost
)

// connect makes a connection. Its reply may be lost: then it is asked for again.
func (a array) connect(ctx context.Context, w way, v volume) (c arrayConnection, came connecting, err error) {
	r := rest.Request{Method: http.MethodPost, Path: connections, Query: connectionQuery(w, v)}
	c, err = a.connectOnce(ctx, r)
	unclear := errors.Is(err, rest.ErrMaybeDone)
	if unclear && ctx.Err() == nil {
		c, err = a.connectOnce(ctx, r)
	}
	switch {
	case errors.Is(err, rest.ErrConnected) && unclear:
		return arrayConnection{}, connUnclear, nil
	case errors.Is(err, rest.ErrConnected):
		return arrayConnection{}, connExisted, nil
	case err != nil:
		return arrayConnection{}, connMade, err
	}
	return c, connMade, nil
}

// connections are those of a volume (v.ID), of a host (w.host), or of both; what
// is empty is any.
func (a array) connections(ctx context.Context, w way, v volume) ([]arrayConnection, error) {
	list, err := rest.List[arrayConnection](ctx, a.Client, rest.Request{Path: connections, Query: connectionQuery(w, v)})
	if gone(err) {
		return nil, nil // no such connection, host or volume
	}
	return list, err
}

// connectOnce takes the first of the connections in the reply: a host group has
// one for each of its hosts, and perhaps none.
func (a array) connectOnce(ctx context.Context, r rest.Request) (arrayConnection, error) {
	var reply struct {
		Items *[]arrayConnection `json:"items"`
	}
	if err := a.Do(ctx, r, &reply); err != nil {
		return arrayConnection{}, err
	}
	if reply.Items == nil {
		return arrayConnection{}, fmt.Errorf("array %s: POST %s: the reply has no items: %w", a.Array(), connections, rest.ErrMaybeDone)
	}
	if len(*reply.Items) == 0 {
		return arrayConnection{}, nil
	}
	return (*reply.Items)[0], nil
}

// disconnect ends a connection; missing says that the array has none such, or
// not that host or group.
func (a array) disconnect(ctx context.Context, w way, v volume) (missing bool, err error) {
	return a.disconnectBy(ctx, connectionQuery(w, v))
}

// disconnectNamed is disconnect for a volume while it has this name.
func (a array) disconnectNamed(ctx context.Context, w way, name string) (missing bool, err error) {
	return a.disconnectBy(ctx, query("host_names", w.host, "host_group_names", w.group, "volume_names", name))
}

func (a array) disconnectBy(ctx context.Context, q url.Values) (missing bool, err error) {
	err = a.Do(ctx, rest.Request{Method: http.MethodDelete, Path: connections, Query: q, Idempotent: true}, nil)
	if gone(err) {
		return true, nil
	}
	return false, err
}
