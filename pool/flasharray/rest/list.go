package rest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strconv"
)

const (
	pageItems = 1000 // what the array gives at most in one reply
	// maxItems is far more than an array has; a list that is longer does not
	// end.
	maxItems = 2_000_000
	// maxEmptyPages in a row: a filter may leave a page empty.
	maxEmptyPages = 100
)

// items is the reply to every call that concerns objects.
type items[T any] struct {
	Items        *[]T   `json:"items"`
	More         *bool  `json:"more_items_remaining"`
	Continuation string `json:"continuation_token"`
}

func (i *items[T]) check() error {
	switch {
	case i.Items == nil:
		return errors.New("it has no items")
	case i.Continuation == "" && i.More != nil && *i.More:
		return errors.New("it says that more items remain, but not how to ask for them")
	}
	return nil
}

func (i *items[T]) next() string {
	if i.More != nil && !*i.More {
		return ""
	}
	return i.Continuation
}

// Each asks for a list page by page, and yields its items. An error is the last
// that it yields: a list that ends without one is complete.
func Each[T any](ctx context.Context, c *Client, r Request) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		p := pager{request: r}
		for more := true; more; {
			var page items[T]
			if err := c.Do(ctx, p.ask(), &page); err != nil {
				yield(none, err)
				return
			}
			for _, item := range *page.Items {
				if !yield(item, nil) {
					return
				}
			}
			var err error
			if more, err = p.advance(len(*page.Items), page.next()); err != nil {
				yield(none, fmt.Errorf("FlashArray %s: GET %s: %w", c.base.Host, r.Path, err))
				return
			}
		}
	}
}

// List is Each with everything at once.
func List[T any](ctx context.Context, c *Client, r Request) ([]T, error) {
	var list []T
	for item, err := range Each[T](ctx, c, r) {
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	return list, nil
}

// One does a call whose reply is one object. A GET that finds nothing gives
// ErrNotFound; more than one object is never the right one.
func One[T any](ctx context.Context, c *Client, r Request) (T, error) {
	var none T
	var page items[T]
	if err := c.Do(ctx, r, &page); err != nil {
		return none, err
	}
	k := call{method: r.Method, path: r.Path}
	found := *page.Items
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0 && r.Method == http.MethodGet:
		e := c.newError(k)
		e.kind, e.cause = ErrNotFound, errors.New("the array has no such object")
		return none, e
	}
	return none, c.nonsense(k, answer{status: http.StatusOK}, fmt.Errorf("it has %d items, not one", len(found)))
}

// pager is where a list is.
type pager struct {
	request      Request
	continuation string
	total, empty int
}

func (p *pager) ask() Request {
	r := p.request
	r.Method = http.MethodGet
	r.Query = maps.Clone(r.Query)
	if r.Query == nil {
		r.Query = url.Values{}
	}
	if !r.Query.Has("limit") {
		r.Query.Set("limit", strconv.Itoa(pageItems))
	}
	if p.continuation != "" {
		r.Query.Set("continuation_token", p.continuation)
	}
	return r
}

func (p *pager) advance(n int, next string) (more bool, err error) {
	if next == "" {
		return false, nil
	}
	if p.empty++; n > 0 {
		p.empty = 0
	}
	p.total += n
	if next == p.continuation || p.total > maxItems || p.empty > maxEmptyPages {
		return false, fmt.Errorf("the array's list does not end (after %d items): %w", p.total, ErrUnreachable)
	}
	p.continuation = next
	return true, nil
}
