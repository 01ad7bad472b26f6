package redisx

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Place is where an entry stands in a log: all who append agree on the order, since
// the Redis gives it. After a loss of its data it goes on with its clock.
type Place struct{ MS, N uint64 }

// Before reports whether an entry at p comes before one at q.
func (p Place) Before(q Place) bool {
	return cmp.Or(cmp.Compare(p.MS, q.MS), cmp.Compare(p.N, q.N)) < 0
}

// Entry is one of a log.
type Entry struct {
	Place Place
	Text  string
}

const logField = "text"

// Append adds an entry to a log, which keeps the last so many of them, for ttl after
// the last, and returns its place.
func (c *Client) Append(ctx context.Context, key, text string, keep int64, ttl time.Duration) (p Place, err error) {
	err = c.do(ctx, key, func(ctx context.Context) error {
		var added *redis.StringCmd
		_, err := c.rdb.TxPipelined(ctx, func(t redis.Pipeliner) error {
			added = t.XAdd(ctx, &redis.XAddArgs{Stream: key, MaxLen: keep, Values: []string{logField, text}})
			t.PExpire(ctx, key, ttl)
			return nil
		})
		if err == nil {
			p, err = readPlace(added.Val())
		}
		return err
	})
	return p, err
}

// Entries returns the last n entries of a log, the oldest first, as far as there are
// any.
func (c *Client) Entries(ctx context.Context, key string, n int64) (list []Entry, err error) {
	err = c.do(ctx, key, func(ctx context.Context) error {
		messages, err := c.rdb.XRevRangeN(ctx, key, "+", "-", n).Result()
		if err != nil {
			return err
		}
		list = make([]Entry, len(messages))
		for i := range messages {
			e := &list[len(list)-1-i]
			if e.Place, err = readPlace(messages[i].ID); err != nil {
				return err
			}
			e.Text, _ = messages[i].Values[logField].(string)
		}
		return nil
	})
	return list, err
}

func readPlace(id string) (p Place, err error) {
	ms, n, _ := strings.Cut(id, "-")
	if p.MS, err = strconv.ParseUint(ms, 10, 64); err == nil {
		p.N, err = strconv.ParseUint(n, 10, 64)
	}
	if err != nil {
		return Place{}, errGarbled
	}
	return p, nil
}
