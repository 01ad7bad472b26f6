package redisx

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/helixflow/helixflow/internal/secret"
)

// Options say which Redis, and how long to wait for it.
type Options struct {
	URL            secret.Text   // redis://[user[:password]@]host[:port][/database], or rediss:// for TLS
	Password       secret.Text   // where the URL has none
	Cluster        bool          // of which the URL is one node
	Nodes          []string      // host:port of others
	TLS            *tls.Config   // for rediss; nil trusts the system's authorities
	Timeout        time.Duration // of an operation, a connection taken or made included
	ConnectTimeout time.Duration // of a connection, which an operation does not wait for longer than its Timeout
	PoolSize       int           // connections, to each node; 0: four for each processor
	Prefix         string        // of the names of keys
	Log            *slog.Logger
}

// connsPerCore is how many connections are worth it.
const connsPerCore = 4

// Client talks to one Redis, or one cluster. See the package's text for what it
// promises.
type Client struct {
	rdb      redis.UniversalClient
	address  string
	prefix   string
	timeout  time.Duration
	breakers []breaker // one; of a cluster one for each range of slots
	counts   counts
	log      *slog.Logger
}

// Open returns a client; it connects when it is first used.
func Open(o Options) (*Client, error) {
	u, err := connection(o.URL.Reveal())
	if err != nil {
		return nil, err
	}
	address := u.Addrs[0]
	u.Addrs = append(u.Addrs, o.Nodes...)
	if !o.Password.Empty() {
		u.Password = o.Password.Reveal()
	}
	if u.TLSConfig != nil && o.TLS != nil {
		u.TLSConfig = o.TLS
	}
	u.PoolSize = o.PoolSize
	if u.PoolSize == 0 {
		u.PoolSize = connsPerCore * runtime.GOMAXPROCS(0)
	}
	u.DialTimeout, u.ReadTimeout, u.WriteTimeout, u.PoolTimeout = o.ConnectTimeout, o.Timeout, o.Timeout, o.Timeout
	u.ContextTimeoutEnabled = true
	u.MaxRetries, u.DialerRetries = -1, 1 // what is tried again is for the caller to decide; a cluster follows three redirections
	u.ConnMaxIdleTime = 5 * time.Minute
	u.Protocol = 2
	u.DisableIdentity = true
	u.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	u.Dialer = guardedDialer(u)
	redis.SetLogger(quiet{o.Log}) // the library has one for all its clients
	c := &Client{address: address, prefix: o.Prefix, timeout: o.Timeout, log: o.Log, breakers: make([]breaker, 1)}
	if o.Cluster {
		c.breakers = make([]breaker, slotRanges)
		cluster := u.Cluster()
		cluster.DisableRoutingPolicies = true // they would have it ask for all commands there are
		c.rdb = redis.NewClusterClient(cluster)
	} else {
		c.rdb = redis.NewClient(u.Simple())
	}
	return c, nil
}

// guardedDialer makes connections that guard what is read from them.
func guardedDialer(u *redis.UniversalOptions) func(ctx context.Context, network, address string) (net.Conn, error) {
	dial := redis.NewDialer(&redis.Options{DialTimeout: u.DialTimeout, TLSConfig: u.TLSConfig})
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return guarded(c), nil
	}
}

// quiet keeps the library's own lines for those who debug.
type quiet struct{ log *slog.Logger }

// Printf is what the library calls.
func (q quiet) Printf(ctx context.Context, format string, args ...any) {
	if q.log.Enabled(ctx, slog.LevelDebug) {
		q.log.Debug("redis library", "text", fmt.Sprintf(format, args...))
	}
}

// connection reads a URL. Its errors do not repeat it: there may be a password
// in it.
func connection(text string) (*redis.UniversalOptions, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("cannot read the URL of redis: it is no URL")
	}
	o := &redis.UniversalOptions{Username: u.User.Username()}
	o.Password, _ = u.User.Password()
	switch u.Scheme {
	case "redis":
	case "rediss":
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12} // the name is the address's
	default:
		return nil, errors.New("cannot read the URL of redis: it starts with neither redis:// nor rediss://")
	}
	port := u.Port()
	if port == "" {
		port = "6379"
	}
	o.Addrs = []string{net.JoinHostPort(u.Hostname(), port)}
	if db := strings.TrimPrefix(u.Path, "/"); db != "" {
		if o.DB, err = strconv.Atoi(db); err != nil || o.DB < 0 {
			return nil, errors.New("cannot read the URL of redis: what follows the host is no number of a database")
		}
	}
	return o, nil
}

// Address is the host and port it talks to.
func (c *Client) Address() string { return c.address }

// Key returns the name of a key below the configured prefix. Names that share
// what stands in braces live in one hash slot.
func (c *Client) Key(name string) string { return c.prefix + ":" + name }

// Get returns the value of a key; nil where there is none. The caller owns it.
func (c *Client) Get(ctx context.Context, key string) (value []byte, err error) {
	err = c.do(ctx, key, func(ctx context.Context) (err error) {
		value, err = c.rdb.Get(ctx, key).Bytes()
		if errors.Is(err, redis.Nil) {
			return nil
		}
		return err
	})
	return value, err
}

// Set gives a key a value, for ttl; 0 is for good.
func (c *Client) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return c.do(ctx, key, func(ctx context.Context) error { return c.rdb.Set(ctx, key, value, ttl).Err() })
}

// Del deletes keys of one hash slot, of which some may not be there.
func (c *Client) Del(ctx context.Context, keys ...string) error {
	return c.do(ctx, keys[0], func(ctx context.Context) error { return c.rdb.Del(ctx, keys...).Err() })
}

// Script is a Lua script, which a Redis is sent once and then named by its digest.
type Script struct{ script *redis.Script }

// NewScript returns the script with this text.
func NewScript(text string) *Script { return &Script{redis.NewScript(text)} }

// Run runs a script on keys, which live in one hash slot, and has read take the list
// of whole numbers that it answers. Any other answer, and one that read does not
// believe, is Garbled.
func (c *Client) Run(ctx context.Context, s *Script, keys []string, read func(numbers []int64) (believed bool), args ...any) error {
	return c.do(ctx, keys[0], func(ctx context.Context) error {
		reply, err := s.script.Run(ctx, c.rdb, keys, args...).Result()
		if err != nil {
			return err
		}
		numbers, err := wholeNumbers(reply)
		if err == nil && !read(numbers) {
			err = errGarbled
		}
		return err
	})
}

// wholeNumbers reads the answer of a script.
func wholeNumbers(reply any) ([]int64, error) {
	list, ok := reply.([]any)
	if !ok {
		return nil, errGarbled
	}
	numbers := make([]int64, len(list))
	for i := range list {
		if numbers[i], ok = list[i].(int64); !ok {
			return nil, errGarbled
		}
	}
	return numbers, nil
}

// Down reports whether every breaker is open: operations fail at once.
func (c *Client) Down() bool {
	now := time.Now()
	for i := range c.breakers {
		if c.breakers[i].state(now) != StateOpen {
			return false
		}
	}
	return true
}

// breaker is the one for a key.
func (c *Client) breaker(key string) *breaker {
	return &c.breakers[slotOf(key)*len(c.breakers)/slots]
}

// Close closes the connections.
func (c *Client) Close() {
	_ = c.rdb.Close()
}

// do runs one operation on a key, if the breaker lets it.
func (c *Client) do(ctx context.Context, key string, operation func(context.Context) error) error {
	b := c.breaker(key)
	if !b.allow(time.Now()) {
		c.counts.failed[Skipped].Add(1)
		return &Error{Kind: Skipped, address: c.address}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	c.counts.operations.Add(1)
	err := operation(ctx)
	if err == nil {
		c.succeeded(b)
		return nil
	}
	if errors.Is(err, context.Canceled) {
		b.abandon()
		return &Error{Kind: Cancelled, address: c.address}
	}
	return c.failed(b, err)
}

func (c *Client) succeeded(b *breaker) {
	if b.succeed() {
		c.log.Info("redis answers again", "address", c.address)
	}
}

func (c *Client) failed(b *breaker, err error) error {
	e := &Error{Kind: kindOf(err), address: c.address, detail: detailOf(err)}
	c.counts.failed[e.Kind].Add(1)
	if b.fail(time.Now()) {
		c.log.Warn("redis is left alone for a while", "error", e)
	}
	return e
}
