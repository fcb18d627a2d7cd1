package exportd

import "sync"

// cache is a bounded map that forgets what was not used lately: two maps, of
// which the older is dropped when the younger is full. Safe for concurrent use.
type cache[K comparable, V any] struct {
	mu         sync.Mutex // innermost lock
	limit      int        // of each map
	young, old map[K]V
}

func newCache[K comparable, V any](limit int) *cache[K, V] {
	return &cache[K, V]{limit: max(limit/2, 1), young: map[K]V{}, old: map[K]V{}}
}

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.young[k]
	if ok {
		return v, true
	}
	if v, ok = c.old[k]; ok {
		delete(c.old, k)
		c.insert(k, v)
	}
	return v, ok
}

func (c *cache[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.old, k)
	c.insert(k, v)
}

func (c *cache[K, V]) insert(k K, v V) {
	if len(c.young) >= c.limit {
		if _, there := c.young[k]; !there {
			c.young, c.old = map[K]V{}, c.young
		}
	}
	c.young[k] = v
}

func (c *cache[K, V]) drop(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, k)
	delete(c.old, k)
}
