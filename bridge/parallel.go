package bridge

import (
	"errors"
	"sync"
)

// each calls f for 0…n-1, at most limit at once, waits for all of them and
// joins their errors in order.
func each(n, limit int, f func(i int) error) error {
	errs := make([]error, n)
	slots := make(chan struct{}, max(1, limit))
	var all sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = f(i)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
