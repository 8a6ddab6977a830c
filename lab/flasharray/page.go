package flasharray

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// object is a JSON object of an answer.
type object map[string]any

// reference is how a body names a resource.
type reference struct{ ID, Name string }

// items is an answer that is complete.
func items(list ...object) object {
	if list == nil {
		list = []object{}
	}
	return object{"items": list, "more_items_remaining": false, "continuation_token": nil, "total_item_count": nil}
}

// page answers with one page of all. With order, a token says after which item
// it goes on, so that items made or removed meanwhile shift nothing; without,
// it says how many have been seen.
func (a *Array) page(r *request, all []object, order func(object) string) (any, *failure) {
	return pageOf(a, r, all, func(o object) object { return o }, order)
}

// pageOf is page for what becomes an object only when it is shown.
func pageOf[T any](a *Array, r *request, all []T, show func(T) object, order func(T) string) (any, *failure) {
	limit, bad := r.limit(a.o.PageLimit)
	if bad != nil {
		return nil, bad
	}
	if by := r.query.Get("sort"); by != "" {
		sortBy(all, by, show)
		order = nil
	}
	total := len(all)
	rest, bad := after(all, r.query.Get("continuation_token"), order)
	if bad != nil {
		return nil, bad
	}
	var shown []object
	for _, x := range rest[:min(limit, len(rest))] {
		shown = append(shown, show(x))
	}
	answer := items(shown...)
	if r.query.Get("total_item_count") == "true" || r.query.Get("limit") == "0" {
		answer["total_item_count"] = total
	}
	if limit > 0 && len(rest) > limit {
		token := "+" + strconv.Itoa(total-len(rest)+limit)
		if order != nil {
			token = ">" + order(rest[limit-1])
		}
		answer["more_items_remaining"] = true
		answer["continuation_token"] = base64.StdEncoding.EncodeToString([]byte(token))
	}
	return answer, nil
}

func (r *request) limit(most int) (int, *failure) {
	text := r.query.Get("limit")
	if text == "" {
		return most, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, refuse(text, "Invalid limit.")
	}
	return min(n, most), nil
}

func after[T any](all []T, token string, order func(T) string) ([]T, *failure) {
	if token == "" {
		return all, nil
	}
	text, err := base64.StdEncoding.DecodeString(token)
	if last, named := strings.CutPrefix(string(text), ">"); err == nil && named && order != nil {
		i, found := slices.BinarySearchFunc(all, last, func(x T, k string) int { return cmp.Compare(order(x), k) })
		if found {
			i++
		}
		return all[i:], nil
	}
	if seen, counted := strings.CutPrefix(string(text), "+"); err == nil && counted {
		if n, err := strconv.Atoi(seen); err == nil && n >= 0 {
			return all[min(n, len(all)):], nil
		}
	}
	return nil, refuse(token, "Invalid continuation token.")
}

// sortBy sorts by a field; a dash behind its name turns the order round.
func sortBy[T any](all []T, by string, show func(T) object) {
	field, down := strings.CutSuffix(by, "-")
	field = strings.TrimSuffix(field, "+")
	slices.SortStableFunc(all, func(x, y T) int {
		c := compare(show(x)[field], show(y)[field])
		if down {
			return -c
		}
		return c
	})
}

func compare(x, y any) int {
	if a, ok := x.(int64); ok {
		if b, ok := y.(int64); ok {
			return cmp.Compare(a, b)
		}
	}
	return cmp.Compare(key(fmt.Sprint(x)), key(fmt.Sprint(y)))
}
