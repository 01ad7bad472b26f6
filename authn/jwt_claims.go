package authn

// What a token says of its bearer, read strictly: an object without double
// members, dates that are numbers, names that are strings.

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxDate is the last second of the year 9999: later dates overflow somewhere.
const maxDate = 253402300799

// claims are a token's. They implement jwt.Claims, whose validator checks them.
type claims struct {
	all           map[string]json.RawMessage
	issuer        string
	audience      []string
	exp, nbf, iat *jwt.NumericDate
}

func parseClaims(raw []byte) (c claims, ok bool) {
	var err error
	if c.all, err = members(raw); err != nil {
		return c, false
	}
	if raw, there := c.all["iss"]; there {
		if c.issuer, ok = stringOf(raw); !ok {
			return c, false
		}
	}
	if raw, there := c.all["aud"]; there {
		one, isOne := stringOf(raw)
		c.audience, ok = stringsOf(raw)
		switch {
		case isOne:
			c.audience = []string{one}
		case !ok:
			return c, false
		}
	}
	for name, to := range map[string]**jwt.NumericDate{"exp": &c.exp, "nbf": &c.nbf, "iat": &c.iat} {
		if raw, there := c.all[name]; there {
			if *to, ok = dateOf(raw); !ok {
				return c, false
			}
		}
	}
	return c, true
}

// dateOf reads a NumericDate (RFC 7519, section 2).
func dateOf(raw json.RawMessage) (*jwt.NumericDate, bool) {
	seconds, err := strconv.ParseFloat(string(raw), 64) // JSON's numbers are among those of Go
	if err != nil || !(seconds >= 0 && seconds <= maxDate) {
		return nil, false
	}
	whole, part := math.Modf(seconds)
	return &jwt.NumericDate{Time: time.Unix(int64(whole), int64(part*1e9))}, true
}

// value is the claim of this name, nil when there is none. A dot in it goes into
// an object, unless the whole name up to there, or to a later dot, is a claim's:
// "realm_access.roles", "https://example.com/org", "kubernetes.io.namespace".
// Objects on the way are read as strictly as the token itself.
func (c *claims) value(name string) json.RawMessage {
	at := c.all
	for {
		end := len(name)
		for end > 0 && at[name[:end]] == nil {
			end = strings.LastIndexByte(name[:end], '.')
		}
		if end <= 0 {
			return nil
		}
		raw := at[name[:end]]
		if end == len(name) {
			return raw
		}
		var err error
		if at, err = members(raw); err != nil {
			return nil
		}
		name = name[end+1:]
	}
}

// words are the strings of a claim: a list of them, or one with spaces between
// as in scope (RFC 8693, section 4.2).
func (c *claims) words(name string) []string {
	raw := c.value(name)
	if text, ok := stringOf(raw); ok {
		return strings.Fields(text)
	}
	list, _ := stringsOf(raw)
	return list
}

// GetExpirationTime implements jwt.Claims.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.exp, nil }

// GetIssuedAt implements jwt.Claims.
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return c.iat, nil }

// GetNotBefore implements jwt.Claims.
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return c.nbf, nil }

// GetIssuer implements jwt.Claims.
func (c *claims) GetIssuer() (string, error) { return c.issuer, nil }

// GetAudience implements jwt.Claims.
func (c *claims) GetAudience() (jwt.ClaimStrings, error) { return c.audience, nil }

// GetSubject implements jwt.Claims. Who a subject is, is for names alone.
func (c *claims) GetSubject() (string, error) {
	subject, _ := stringOf(c.all["sub"])
	return subject, nil
}
