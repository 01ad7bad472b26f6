package cache

// What is kept for a while by others counts as the cache's memory too.

import "time"

// Hold counts n bytes as used, if there is room; Release ends that.
func (c *Cache) Hold(n int64) bool { return c.memory.reserve(n) }

// Release counts n bytes that were held as free.
func (c *Cache) Release(n int64) { c.memory.used.Add(-n) }

// Arrived reports whether an answer to k has come just now. It never waits for anything.
func (c *Cache) Arrived(k *Key, now time.Time) bool { return c.memory.Newest(k, now) != nil }
