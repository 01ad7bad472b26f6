// Package hook is the contract between the router and a hook, a service that
// looks at requests before they are sent on and at answers before they are
// given: what it is asked, and which replies make sense. docs/reference/hook.md
// says the same to whoever writes one. How a hook is reached is not known here.
package hook
